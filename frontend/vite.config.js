// NiiVue computes gradients of the whole volume, for a 3-D rendering that is never shown, each time that a window
// changes: most of the work of a computer without a graphics card.
const GRADIENTS = "function gradientGL(params) {";
const withoutGradients = {
  name: "without-gradients",
  transform(code, id) {
    if (!id.endsWith("/@niivue/niivue/build/niivue/index.js")) return null;
    if (!code.includes(GRADIENTS)) throw new Error("NiiVue computes its gradients elsewhere");
    return { code: code.replace(GRADIENTS, `${GRADIENTS} return null;`), map: null };
  },
};

// Two entries with fixed names: the pages name them, and a built file goes into the wheel as it is.
export default {
  plugins: [withoutGradients],
  build: {
    outDir: "../src/meninx/_web/static/built",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { app: "src/app.js", viewer: "src/viewer.js" },
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" },
    },
  },
};
