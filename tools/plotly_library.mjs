// Make dtvg/figures/library/plotly.min.js: plotly.js with the kinds of traces that our figures use.
// It is a third of the whole library, and a browser has it running in a sixth of the time.
//
//   mkdir /tmp/plotly && cd /tmp/plotly
//   npm install plotly.js@4.1.1 esbuild@0.28.2 esbuild-plugin-inline-css@0.0.1
//   node CHECKOUT/tools/plotly_library.mjs
//
// Take the version of plotly.js that the Python package in use brings (the head of its
// package_data/plotly.min.js); `TRACES` of dtvg/figures/library/__init__.py are registered.

import { copyFileSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = createRequire(path.join(process.cwd(), "package.json"));
const { build } = here("esbuild");
const css = here("esbuild-plugin-inline-css");

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "dtvg", "figures", "library");
const source = readFileSync(path.join(root, "__init__.py"), "utf8");
const traces = source.match(/^TRACES = \(([^)]*)\)/m)[1].match(/\w+/g);
const plotly = path.dirname(here.resolve("plotly.js/package.json"));
const { version } = JSON.parse(readFileSync(path.join(plotly, "package.json"), "utf8"));

await build({
  stdin: {
    contents: `
      const Plotly = require("plotly.js/lib/core");
      Plotly.register([${traces.map((name) => `require("plotly.js/lib/${name}")`)}]);
      module.exports = Plotly;`,
    resolveDir: process.cwd(),
  },
  bundle: true,
  minify: true,
  format: "iife",
  globalName: "Plotly",
  target: "es2016",
  define: { global: "window", "define.amd": "false", "process.env.NODE_DEBUG": "false" },
  plugins: [css()],
  legalComments: "inline",
  banner: {
    js: `/**
* plotly.js v${version} with ${traces.join(", ")}
* Copyright 2012-2026, Plotly, Inc.
* All rights reserved.
* Licensed under the MIT license
*/`,
  },
  outfile: path.join(root, "plotly.min.js"),
});
copyFileSync(path.join(plotly, "LICENSE"), path.join(root, "plotly.LICENSE"));
