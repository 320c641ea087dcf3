// The parameters `times`, `unit` and `subsecond`.

const NAMES = ['times', 'unit', 'subsecond'];
const UNITS = ['s', 'ms', 'us', 'ns', 'auto'];

/** What the parameters say, which are pairs of name and value. Throws the reason where one is wrong. */
export function configured(params) {
  const given = new Map();
  for (const [name, value] of params) {
    if (given.has(name)) throw `parameter \`${name}\` is given twice`;
    given.set(name, value);
  }
  const unknown = [...given.keys()].find((name) => !NAMES.includes(name));
  if (unknown !== undefined) {
    throw `unknown parameter \`${unknown}\`: there are ${NAMES.map((name) => `\`${name}\``).join(', ')}`;
  }
  const { times = '*_at', unit = 'auto', subsecond = 'exact' } = Object.fromEntries(given);
  if (!UNITS.includes(unit)) {
    throw `parameter \`unit\` is \`${unit}\`: it must be \`s\`, \`ms\`, \`us\`, \`ns\` or \`auto\``;
  }
  if (subsecond !== 'exact' && subsecond !== 'floor') {
    throw `parameter \`subsecond\` is \`${subsecond}\`: it must be \`exact\` or \`floor\``;
  }
  return { isTime: matcher('times', times), unit, floor: subsecond === 'floor' };
}

/** Whether a name is what one of the patterns says, which have commas between them. */
function matcher(parameter, value) {
  if (value.trim() === '') return () => false;
  const patterns = value.split(',').map((pattern) => pattern.trim());
  if (patterns.includes('')) {
    throw (
      `parameter \`${parameter}\` is \`${value}\`: it must be names with commas between them, ` +
      'such as `id,paid_at`'
    );
  }
  return (name) => patterns.some((pattern) => matches(pattern, name));
}

/** Whether a name is what a pattern says, in which `*` stands for any characters. */
function matches(pattern, name) {
  const [first, ...parts] = pattern.split('*');
  if (parts.length === 0) return name === first;
  if (!name.startsWith(first)) return false;
  const last = parts.pop();
  let at = first.length;
  for (const part of parts) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - at >= last.length && name.endsWith(last);
}
