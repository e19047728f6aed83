// Two entries with fixed names: the pages name them, and a built file goes into the wheel as it is.
export default {
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
