// Checks the licences of all dependencies against deny.toml's list, for machines without cargo-deny.
//   node tests/licences.mjs deny.toml METADATA   (the output of `cargo metadata`)

import { readFileSync } from 'node:fs';

const [denyPath, metadataPath] = process.argv.slice(2);
const deny = readFileSync(denyPath, 'utf8');
const list = /^allow\s*=\s*\[([^\]]*)\]/m.exec(deny);
if (!list) throw new Error(`${denyPath} has no list "allow"`);
const allowed = new Set([...list[1].matchAll(/"([^"]+)"/g)].map((match) => match[1]));

/** Whether an SPDX expression can be met with allowed licences only; AND binds closer than OR. */
function isMet(expression) {
  // Before SPDX, crates wrote a slash for OR.
  const words = expression.replaceAll('/', ' OR ').match(/\(|\)|[^\s()]+/g) ?? [];
  let at = 0;
  const primary = () => {
    if (words[at] === '(') {
      at += 1;
      const met = either();
      if (words[at] !== ')') throw new Error(`cannot read ${expression}`);
      at += 1;
      return met;
    }
    let name = words[at];
    at += 1;
    if (words[at] === 'WITH') {
      name += ` WITH ${words[at + 1]}`;
      at += 2;
    }
    return allowed.has(name);
  };
  const both = () => {
    let met = primary();
    while (words[at] === 'AND') {
      at += 1;
      met = primary() && met;
    }
    return met;
  };
  const either = () => {
    let met = both();
    while (words[at] === 'OR') {
      at += 1;
      met = both() || met;
    }
    return met;
  };
  const met = either();
  if (at !== words.length) throw new Error(`cannot read ${expression}`);
  return met;
}

// Both verdicts, so that a broken reader is noticed.
const [some] = allowed;
if (!isMet(`(${some} AND ${some}) OR Nobody`) || isMet(`${some} AND Nobody`) || isMet('Nobody')) {
  throw new Error('the reader of expressions is broken');
}

const { packages } = JSON.parse(readFileSync(metadataPath, 'utf8'));
const refused = packages.filter(({ license }) => !license || !isMet(license));
for (const { name, version, license } of refused) console.error(`refused: ${name} ${version}: ${license ?? 'no licence'}`);
console.log(`${packages.length - refused.length} of ${packages.length} packages have allowed licences`);
process.exitCode = refused.length === 0 && packages.length > 0 ? 0 : 1;
