// What the values of columns that are times say, as microseconds since 1970.

const NO_INTEGER = "not a time: an integer beyond its unit's range";
const NO_TEXT = 'not a time: text that is not as ISO 8601 has it';
const TOO_PRECISE = 'more precise than a microsecond; `subsecond=floor` would round it down';

// The upper halves of microseconds between 1973 and 5138, which are those that numbers are surely taken for.
const MICROS_FROM = 23_284;
const MICROS_TO = 23_283_063;

/**
 * Of a column of integers. Where a cell is no time, `fault` gets its row and why. Changes `numbers`, which are this
 * call's own.
 */
export function fromIntegers(numbers, states, { unit, floor }, fault) {
  if (unit === 'us') return numbers;
  const halves = new Int32Array(numbers.buffer, numbers.byteOffset, 2 * numbers.length);
  const isGuessed = unit === 'auto';
  for (let row = 0, upper = 1; row < numbers.length; row++, upper += 2) {
    const half = halves[upper];
    if (isGuessed && half >= MICROS_FROM && half <= MICROS_TO) continue;
    if (states.length > 0 && states[row] !== 0) continue;
    const micros = fromInteger(numbers[row], unit, floor);
    if (typeof micros === 'string') fault(row, micros);
    else numbers[row] = micros;
  }
  return numbers;
}

/** Microseconds, or why it is no time. */
function fromInteger(number, unit, floor) {
  switch (unit === 'auto' ? guess(number) : unit) {
    case 's':
      return within64Bits(number * 1_000_000n);
    case 'ms':
      return within64Bits(number * 1_000n);
    case 'us':
      return number;
    default: {
      const nanos = ((number % 1_000n) + 1_000n) % 1_000n;
      return nanos === 0n || floor ? (number - nanos) / 1_000n : TOO_PRECISE;
    }
  }
}

/** The unit that a number most likely counts. */
function guess(number) {
  const size = number < 0n ? -number : number;
  if (size < 100_000_000_000n) return 's';
  if (size < 100_000_000_000_000n) return 'ms';
  return size < 100_000_000_000_000_000n ? 'us' : 'ns';
}

function within64Bits(micros) {
  return BigInt.asIntN(64, micros) === micros ? micros : NO_INTEGER;
}

const [DASH, POINT, ZERO, COLON, PLUS, SPACE] = [...'-.0:+ '].map((character) => character.charCodeAt(0));
const [BIG_T, SMALL_T, BIG_Z, SMALL_Z] = [...'TtZz'].map((character) => character.charCodeAt(0));
/** Where the time of day begins in `2024-05-06T07:08:09.123456Z`, and where the seconds do. */
const [TIME, SECONDS] = [10, 17];
/** What so many digits of a second's fraction count, in microseconds. */
const FRACTIONS = [0, 100_000, 10_000, 1_000, 100, 10, 1];
/** Until 2255 numbers hold microseconds exactly. */
const EXACT = BigInt(Number.MAX_SAFE_INTEGER);
const DECODER = new TextDecoder();

/**
 * Of a column of text. Where a cell is no time, `fault` gets its row and why.
 *
 * Changes that come together were mostly made in the same minute: of a text that begins as one before it, only the
 * seconds are read.
 */
export function fromTexts({ offsets, bytes }, states, { floor }, fault) {
  const rows = offsets.length - 1;
  const micros = new BigInt64Array(rows);
  const text = ascii(bytes);
  let minute = null;
  let minuteMicros = 0;
  for (let row = 0, start = 0, end; row < rows; row++, start = end) {
    end = offsets[row + 1];
    const digits = end - start - SECONDS - 4;
    if (minute !== null && text.startsWith(minute, start)) {
      const inMinute = secondMicros(bytes, start + SECONDS, digits);
      if (inMinute >= 0) {
        micros[row] = BigInt(minuteMicros + inMinute);
        continue;
      }
    }
    if (states.length > 0 && states[row] !== 0) continue;
    const time = fromText(bytes, start, end, floor);
    if (typeof time === 'string') {
      fault(row, time);
      continue;
    }
    micros[row] = time;
    const inMinute = secondMicros(bytes, start + SECONDS, digits);
    if (inMinute >= 0 && text !== '' && time >= -EXACT && time <= EXACT) {
      minute = text.slice(start, start + SECONDS);
      minuteMicros = Number(time) - inMinute;
    }
  }
  return micros;
}

/** The bytes as text whose characters stand where their bytes do; empty where that cannot be. */
function ascii(bytes) {
  const text = DECODER.decode(bytes);
  return text.length === bytes.length ? text : '';
}

/** Of `09.123456Z`, with so many digits behind the point, the microseconds; -1 where it is anything else. */
function secondMicros(bytes, at, digits) {
  if (digits < 1 || digits > 6) return -1;
  const point = at + 2;
  const end = point + 1 + digits;
  if (bytes[point] !== POINT || bytes[end] !== BIG_Z) return -1;
  const second = number(bytes, at, point);
  const fraction = number(bytes, point + 1, end);
  return second < 0 || second > 59 || fraction < 0 ? -1 : second * 1_000_000 + fraction * FRACTIONS[digits];
}

/** The number that digits say; -1 where anything else is among them. */
function number(bytes, start, end) {
  let sum = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at] ^ ZERO;
    if (digit > 9) return -1;
    sum = sum * 10 + digit;
  }
  return sum;
}

/**
 * Of one text, `2024-05-06`, then perhaps `T` or a space and `07:08` or `07:08:09` with up to nine digits after a
 * point, then perhaps `Z`, `+01`, `+01:30` or `-01:30`: microseconds, or why it is no time.
 */
function fromText(bytes, start, end, floor) {
  const days = end - start < TIME ? NaN : daysOf(bytes, start);
  if (Number.isNaN(days)) return NO_TEXT;
  let at = start + TIME;
  let seconds = days * 86_400;
  let nanos = 0;
  if (at < end && (bytes[at] === BIG_T || bytes[at] === SMALL_T || bytes[at] === SPACE)) {
    const minutes = end - at < 6 ? -1 : clock(bytes, at + 1);
    if (minutes < 0) return NO_TEXT;
    seconds += minutes * 60;
    at += 6;
    if (at < end && bytes[at] === COLON) {
      const second = end - at < 3 ? -1 : number(bytes, at + 1, at + 3);
      if (second < 0 || second > 59) return NO_TEXT;
      seconds += second;
      at += 3;
      if (at < end && bytes[at] === POINT) {
        const from = ++at;
        while (at < end && (bytes[at] ^ ZERO) <= 9) at++;
        if (at === from || at > from + 9) return NO_TEXT;
        nanos = number(bytes, from, at) * 10 ** (9 - (at - from));
      }
    }
  }
  const ahead = zone(bytes, at, end);
  if (Number.isNaN(ahead)) return NO_TEXT;
  if (nanos % 1_000 !== 0 && !floor) return TOO_PRECISE;
  return BigInt(seconds - ahead) * 1_000_000n + BigInt(Math.floor(nanos / 1_000));
}

/** Days from 1970-01-01 to `2024-05-06`; not a number where it is no day of the Gregorian calendar. */
function daysOf(bytes, at) {
  const [year, month, day] = [number(bytes, at, at + 4), number(bytes, at + 5, at + 7), number(bytes, at + 8, at + TIME)];
  if (bytes[at + 4] !== DASH || bytes[at + 7] !== DASH) return NaN;
  if (year < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return NaN;
  // Counted from the first of March of the year 0, so that the leap day is a year's last.
  const march = month > 2 ? month - 3 : month + 9;
  const from = month > 2 ? year : year - 1;
  const leapDays = Math.floor(from / 4) - Math.floor(from / 100) + Math.floor(from / 400);
  // Five months from March or from August have 153 days: 31 30 31 30 31.
  return from * 365 + leapDays + Math.floor((153 * march + 2) / 5) + day - 1 - 719_468;
}

function daysIn(year, month) {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Minutes of `07:08`; -1 where it is no time of day. */
function clock(bytes, at) {
  const [hour, minute] = [number(bytes, at, at + 2), number(bytes, at + 3, at + 5)];
  return bytes[at + 2] !== COLON || hour < 0 || hour > 23 || minute < 0 || minute > 59 ? -1 : hour * 60 + minute;
}

/** How many seconds the zone that a text ends with is ahead of UTC; not a number where it ends with anything else. */
function zone(bytes, at, end) {
  const left = end - at;
  if (left === 0 || (left === 1 && (bytes[at] === BIG_Z || bytes[at] === SMALL_Z))) return 0;
  const sign = bytes[at] === PLUS ? 1 : bytes[at] === DASH ? -1 : NaN;
  if (left === 6) {
    const minutes = clock(bytes, at + 1);
    return minutes < 0 ? NaN : sign * minutes * 60;
  }
  const hours = left === 3 ? number(bytes, at + 1, end) : -1;
  return hours < 0 || hours > 23 ? NaN : sign * hours * 3_600;
}
