import assert from 'node:assert/strict';
import test from 'node:test';

import { handler } from './update_only.js';

const NONE = new Uint8Array(0);
const NO_TEXT = 'not a time: text that is not as ISO 8601 has it';
const EVENTS = {
  id: 7,
  typed: false,
  fields: [
    { name: 'id', kind: 'int' },
    { name: 'created_at', kind: 'int' },
    { name: 'updated_at', kind: 'text' },
    { name: 'note_at', kind: 'json' },
  ],
};

function texts(cells) {
  const encoded = cells.map((cell) => new TextEncoder().encode(cell));
  const offsets = new Uint32Array(cells.length + 1);
  encoded.forEach((cell, at) => (offsets[at + 1] = offsets[at] + cell.length));
  return { tag: 'blobs', val: { offsets, bytes: new Uint8Array(Buffer.concat(encoded)) } };
}

const integers = (cells) => ({ tag: 'ints', val: BigInt64Array.from(cells) });

/** The answer to columns of cells; the parameters are pairs. */
function answer(params, ...columns) {
  handler.configure(params);
  handler.prepare({ ...EVENTS, fields: EVENTS.fields.slice(1, 1 + columns.length) });
  const given = columns.map(({ cells, states = NONE }) => ({ cells, states }));
  const rows = (columns[0].cells.val.offsets?.length ?? columns[0].cells.val.length + 1) - 1;
  return handler.apply({ table: 7, rows, columns: given });
}

/** What one column of texts becomes: its microseconds, or the reason. */
function read(cells, params = []) {
  const zeros = integers(cells.map(() => 0n));
  const { parts, rejects } = answer(params, { cells: zeros }, { cells: texts(cells) });
  const outcome = new Array(cells.length);
  parts[0].rows.forEach((row, at) => (outcome[row] = parts[0].computed[1].cells.val[at]));
  rejects.forEach(({ row, reason }) => (outcome[row] = reason));
  return outcome;
}

function thrown(action) {
  try {
    action();
  } catch (reason) {
    return reason;
  }
  assert.fail('nothing was thrown');
}

test('iso text is read in all its forms', () => {
  const cases = {
    '1970-01-01': 0n,
    '1970-01-01T00:00': 0n,
    '1970-01-01T00:00:01': 1_000_000n,
    '1970-01-01 00:00:01.5': 1_500_000n,
    '1970-01-01t00:00:01.000001z': 1_000_001n,
    '1970-01-01T01:00:00+01': 0n,
    '1970-01-01T01:30:00+01:30': 0n,
    '1969-12-31T18:29:59.999999-05:30': -1n,
    '2024-02-29T12:34:56.789012Z': 1_709_210_096_789_012n,
    '2000-02-29 00:00:00+00': 951_782_400_000_000n,
    '2017-09-15Z': 1_505_433_600_000_000n,
    '0000-01-01': -62_167_219_200_000_000n,
    '9999-12-31T23:59:59.999999': 253_402_300_799_999_999n,
  };
  assert.deepEqual(read(Object.keys(cases)), Object.values(cases));
});

test('other texts are no times', () => {
  const cases = [
    '', ' ', 'now', '1700000000', '2024-1-2', '24-01-02', '2024-13-01', '2024-00-01', '0000-00-00 00:00:00',
    '2024-02-30', '2023-02-29', '1900-02-29', '2024-04-31', '2024-01-02T', '2024-01-02T1', '2024-01-02T24:00:00',
    '2024-01-02T00:60:00', '2024-01-02T00:00:60', '2024-01-02T00:00:00.', '2024-01-02T00:00:00.1234567890',
    '2024-01-02T00:00:00,5', '2024-01-02T00:00:00+1', '2024-01-02T00:00:00+0100', '2024-01-02T00:00:00+24:00',
    '2024-01-02T00:00:00+01:60', '2024-01-02T00:00:00 UTC', '2024-01-02T00:00:00ZZ', '2024-01-02T00:00:00Z ',
    ' 2024-01-02', '+2024-01-02', '2024-01-02T-1:00:00', '２024-01-02', '2024-05-06+01:30:09.123456Z',
  ];
  assert.deepEqual(read(cases), cases.map(() => `updated_at: ${NO_TEXT}`));
});

test('of texts of one minute only the seconds are read, and as strictly', () => {
  const minute = 1_714_979_280_000_000n;
  assert.deepEqual(
    read([
      '2024-05-06T07:08:09.123456Z',
      '2024-05-06T07:08:59.5Z',
      '2024-05-06T07:08:60.500000Z',
      '2024-05-06T07:08:0x.500000Z',
      '2024-05-06T07:08:00.50000xZ',
      '2024-05-06T07:08:00.500000+',
      '2024-05-06T07:08:00',
      '2024-05-06T07:09:00.000001Z',
      '2024-05-06T07:08:01.000001Z',
    ]),
    [
      minute + 9_123_456n,
      minute + 59_500_000n,
      ...new Array(4).fill(`updated_at: ${NO_TEXT}`),
      minute,
      minute + 60_000_001n,
      minute + 1_000_001n,
    ],
  );
  // Before 1684 and after 2255 a number does not hold microseconds exactly.
  const far = ['0001-01-01T00:00:01.000001Z', '0001-01-01T00:00:02.000003Z', '9999-12-31T23:59:01.000001Z', '9999-12-31T23:59:02.000003Z'];
  assert.deepEqual(read(far), [
    -62_135_596_798_999_999n, -62_135_596_797_999_997n, 253_402_300_741_000_001n, 253_402_300_742_000_003n,
  ]);
  // Where characters do not stand where their bytes do, each text is read as a whole.
  const beside = read(['é', '2024-05-06T07:08:09.123456Z', '2024-05-06T07:08:10.123456Z']);
  assert.deepEqual(beside.slice(1), [minute + 9_123_456n, minute + 10_123_456n]);
});

test('integers are read by their size or as the parameter says', () => {
  const guessed = (cells) => answer([], { cells: integers(cells) }).parts[0].computed[0].cells.val;
  const second = 1_700_000_000n;
  const micros = second * 1_000_000n;
  assert.deepEqual(
    [...guessed([second, second * 1_000n, micros, micros * 1_000n, 0n, -99_999_999_999n, -1_700_000_000_123_456_000n])],
    [micros, micros, micros, micros, 0n, -99_999_999_999_000_000n, -1_700_000_000_123_456n],
  );
  const limits = [
    99_999_999_999n, 100_000_000_000n, 99_999_999_999_999n, 100_000_000_000_000n, 99_999_999_999_999_999n,
    100_000_000_000_000_000n,
  ];
  assert.deepEqual(
    [...guessed(limits)],
    [
      99_999_999_999_000_000n, 100_000_000_000_000n, 99_999_999_999_999_000n, 100_000_000_000_000n,
      99_999_999_999_999_999n, 100_000_000_000_000n,
    ],
  );
  for (const [unit, factor] of [['s', 1_000_000n], ['ms', 1_000n], ['us', 1n]]) {
    const { parts } = answer([['unit', unit]], { cells: integers([7n]) });
    assert.deepEqual([...parts[0].computed[0].cells.val], [7n * factor]);
  }
});

test('what is no time rejects its change alone, with the first column at fault', () => {
  const wrong = answer([['unit', 's']], { cells: integers([1n, 2n ** 63n - 1n, 3n]) }, { cells: texts(['x', 'y', '2024-01-01']) });
  assert.deepEqual(wrong.rejects, [
    { row: 0, reason: `updated_at: ${NO_TEXT}` },
    { row: 1, reason: "created_at: not a time: an integer beyond its unit's range" },
  ]);
  assert.deepEqual([...wrong.parts[0].rows], [2]);
  const values = wrong.parts[0].computed.map(({ cells }) => [...cells.val]);
  assert.deepEqual(values, [[3_000_000n], [1_704_067_200_000_000n]]);
});

test('what is more precise is rounded down only on demand', () => {
  const cells = ['1969-12-31T23:59:59.999999999Z', '2024-01-01'];
  const reason = 'updated_at: more precise than a microsecond; `subsecond=floor` would round it down';
  assert.deepEqual(read(cells), [reason, 1_704_067_200_000_000n]);
  assert.deepEqual(read(cells, [['subsecond', 'floor']]), [-1n, 1_704_067_200_000_000n]);
});

test('null and unavailable pass', () => {
  const states = Uint8Array.of(1, 2, 0);
  const { parts } = answer(
    [],
    { cells: integers([0n, 0n, 1n]), states },
    { cells: texts(['', '', '2024-01-01']), states },
  );
  assert.deepEqual(parts[0].computed, [
    { states, cells: integers([0n, 0n, 1_000_000n]) },
    { states, cells: integers([0n, 0n, 1_704_067_200_000_000n]) },
  ]);
});

test('columns that the parameter names are times where there is no schema and others are copied', () => {
  const computed = (params, typed = false) => {
    handler.configure(params);
    const { outputs, ops } = handler.prepare({ ...EVENTS, typed });
    assert.deepEqual(ops, { update: true });
    return outputs[0].columns.filter(({ origin }) => origin.tag === 'computed').map(({ name }) => name);
  };
  assert.deepEqual(computed([]), ['created_at', 'updated_at']);
  assert.deepEqual(computed([], true), []);
  assert.deepEqual(computed([['times', 'updated_at, i*d']]), ['id', 'updated_at']);
  assert.deepEqual(computed([['times', '']]), []);
  assert.deepEqual(computed([['times', 'd*_at']]), []);
});

test('a name that is taken is given another', () => {
  handler.configure([]);
  const fields = ['op', '_topic', 'source_op', 'Op'].map((name) => ({ name, kind: 'int' }));
  const names = handler.prepare({ id: 1, typed: true, fields }).outputs[0].columns.map(({ name }) => name);
  assert.deepEqual(names, ['source_source_op', 'source__topic', 'source_op', 'Op', 'op']);
});

test('a parameter that is not understood is refused', () => {
  const reason = (...params) => thrown(() => handler.configure(params));
  assert.equal(reason(['units', 's']), 'unknown parameter `units`: there are `times`, `unit`, `subsecond`');
  assert.equal(reason(['unit', 's'], ['unit', 's']), 'parameter `unit` is given twice');
  assert.equal(reason(['unit', 'min']), 'parameter `unit` is `min`: it must be `s`, `ms`, `us`, `ns` or `auto`');
  assert.equal(reason(['subsecond', 'ceil']), 'parameter `subsecond` is `ceil`: it must be `exact` or `floor`');
  assert.equal(
    reason(['times', 'a,,b']),
    'parameter `times` is `a,,b`: it must be names with commas between them, such as `id,paid_at`',
  );
});

test('a batch of a table that is not prepared is refused', () => {
  handler.configure([]);
  const reason = thrown(() => handler.apply({ table: 3, rows: 0, columns: [] }));
  assert.equal(reason, 'the host sent a batch of table 3, which is not prepared');
});

test('a batch may have more rows than stand ready', () => {
  const { parts } = answer([], { cells: integers(new Array(5_000).fill(1n)) });
  assert.equal(parts[0].rows.length, 5_000);
  assert.equal(parts[0].rows[4_999], 4_999);
});
