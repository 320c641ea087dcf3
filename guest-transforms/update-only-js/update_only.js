// The default transform in JavaScript: keeps updates, with every column of the row after them, times in UTC, and a
// column `op`. It gives what `update-only`, in Rust, gives; guest-transforms/README.md says what that is.
//
// The engine interprets, and calls of its own functions are dear: what is done once for a column costs nothing,
// what is done for each cell does. No object is made for a row.

import { configured } from './parameters.js';
import { fromIntegers, fromTexts } from './times.js';

/** What the other names give way to: those of columns that the transform or the host adds. */
const TAKEN = ['op', 'ts', '_topic', '_partition', '_offset', '_seq', '_transform', '_version', '_is_deleted'];

const NONE = new Uint8Array(0);
/** So many numbers from 0 on stand ready. */
const COUNTED = 4096;
const COUNT = Uint32Array.from({ length: COUNTED }, (_, row) => row);

let settings;
/** By the number of a table, the names of its columns that are read as times. */
const timesOf = new Map();

export const handler = {
  configure(params) {
    settings = configured(params);
    timesOf.clear();
  },

  prepare({ id, typed, fields }) {
    const times = [];
    const reads = [];
    const columns = fields.map((field, at) => {
      const after = { tag: 'after', val: at };
      let origin = { tag: 'copy', val: after };
      if (!typed && (field.kind === 'int' || field.kind === 'text') && settings.isTime(field.name)) {
        origin = { tag: 'computed', val: { kind: 'timestamp', nullable: true, targetType: undefined } };
        times.push(field.name);
        reads.push(after);
      }
      return { name: freeName(field.name, fields), origin };
    });
    columns.push({ name: 'op', origin: { tag: 'copy', val: { tag: 'op' } } });
    timesOf.set(id, times);
    return { ops: { update: true }, reads, outputs: [{ target: undefined, columns, key: [] }] };
  },

  apply({ table, rows, columns }) {
    const names = timesOf.get(table);
    if (names === undefined) throw `the host sent a batch of table ${table}, which is not prepared`;
    const faults = new Map();
    const computed = columns.map(({ states, cells }, at) => {
      const read = cells.tag === 'ints' ? fromIntegers : fromTexts;
      const fault = (row, reason) => faults.has(row) || faults.set(row, `${names[at]}: ${reason}`);
      return { states, cells: { tag: 'ints', val: read(cells.val, states, settings, fault) } };
    });
    return faults.size === 0
      ? { parts: [{ rows: count(rows), removed: NONE, computed }], rejects: [] }
      : withoutFaults(rows, computed, faults);
  },
};

/** The answer where cells of some rows are at fault: these are rejected. */
function withoutFaults(rows, computed, faults) {
  const kept = count(rows).filter((row) => !faults.has(row));
  const pick = (column) => column.filter((_, row) => !faults.has(row));
  const columns = computed.map(({ states, cells }) => ({
    states: pick(states),
    cells: { tag: 'ints', val: pick(cells.val) },
  }));
  const rejects = [...faults].sort(([one], [other]) => one - other).map(([row, reason]) => ({ row, reason }));
  return { parts: [{ rows: kept, removed: NONE, computed: columns }], rejects };
}

/** The numbers from 0 to below `rows`. */
function count(rows) {
  return rows <= COUNTED ? COUNT.subarray(0, rows) : Uint32Array.from({ length: rows }, (_, row) => row);
}

/** A name for a column that neither is taken nor is that of another column. */
function freeName(name, fields) {
  let free = name;
  while (TAKEN.includes(free) || (free !== name && fields.some((field) => field.name === free))) {
    free = `source_${free}`;
  }
  return free;
}
