// Places in media, as W3C media fragments; pure functions.

export interface Span {
  start_s: number;
  end_s: number;
}

/** The seconds of a locator; those of a frame have no end. Null if it has none. */
export function seconds(locator: string): Span | null {
  const found = /[#&]t=([\d.]+)(?:,([\d.]+))?/.exec(locator);
  if (!found) return null;
  return { start_s: Number(found[1]), end_s: found[2] ? Number(found[2]) : Infinity };
}

/** Seconds as people write them: `0:07`, `1:02:03`. */
export function clock(s: number): string {
  const whole = Math.max(0, Math.floor(s + 0.001));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = `${minutes}:${String(rest).padStart(2, '0')}`;
  return hours ? `${hours}:${tail.padStart(5, '0')}` : tail;
}

/** The index of the last word that has begun; -1 before the first. */
export function spokenAt(words: [string, number, number][], at_s: number): number {
  let [low, high] = [0, words.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words[middle]![1] <= at_s + 0.02) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  const [value, unit] = size < 1e6 ? [size / 1e3, 'kB'] : size < 1e9 ? [size / 1e6, 'MB'] : [size / 1e9, 'GB'];
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

export function count(n: number, noun: string): string {
  return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : 's'}`;
}
