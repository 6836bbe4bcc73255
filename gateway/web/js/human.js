// Numbers as people read them. Pure functions.

const grouped = new Intl.NumberFormat("en", { useGrouping: true });

/** `1234567` as `1,234,567`. */
export const count = (n) => grouped.format(n);

/** Milliseconds as `0.3 s`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms) {
  const s = ms / 1000;
  if (s < 1) return `${Math.max(0, s).toFixed(2)} s`;
  if (s < 10) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A rate as `1.24 G`, three digits and a prefix. */
export function rate(n) {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  let at = 0;
  while (n >= 999.5 && at < prefixes.length - 1) [n, at] = [n / 1000, at + 1];
  const digits = at === 0 || n >= 99.95 ? 0 : n >= 9.995 ? 1 : 2;
  return `${n.toFixed(digits)}${prefixes[at] && ` ${prefixes[at]}`}`;
}

/** `9.6 Mpx`. */
export const pixels = (n) => (n >= 1e9 ? `${(n / 1e9).toFixed(1)} Gpx` : n >= 1e5 ? `${(n / 1e6).toFixed(1)} Mpx` : `${count(n)} px`);
