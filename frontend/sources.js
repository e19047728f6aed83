// Leave a hash of what was built beside it, by which a test sees a bundle that is older than its source.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const digest = createHash("sha256");
for (const name of ["src/app.js", "src/viewer.js", "vite.config.js", "package-lock.json"]) digest.update(readFileSync(name));
writeFileSync("../src/meninx/web/static/built/SOURCES", `${digest.digest("hex")}\n`);
