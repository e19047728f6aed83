// Leave a hash of what was built beside it, by which a test sees a bundle that is older than its source.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const digest = createHash("sha256");
const sources = readdirSync("src", { recursive: true }).filter((name) => name.endsWith(".js")).map((name) => `src/${name}`);
for (const name of [...sources, "vite.config.js", "package-lock.json"].sort()) digest.update(readFileSync(name));
writeFileSync("../src/meninx/_web/static/built/SOURCES", `${digest.digest("hex")}\n`);

// The licenses of what is in the bundle go where it goes.
const { packages } = JSON.parse(readFileSync("package-lock.json"));
const texts = Object.entries(packages).filter(([path, entry]) => path && !entry.dev && !entry.optional).map(([path, entry]) => {
  const name = readdirSync(path).find((file) => /^licen[cs]e/i.test(file));
  return `${path.split("node_modules/").pop()} ${entry.version} (${entry.license})\n\n${name ? readFileSync(`${path}/${name}`, "utf8") : ""}`;
});
writeFileSync("../src/meninx/_web/static/built/LICENSES.txt", texts.join(`\n${"-".repeat(72)}\n`));
