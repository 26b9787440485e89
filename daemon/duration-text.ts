/** Durations for people: exact where it matters (seconds), coarse where it does not (days). */

/** "850 ms", "4.1 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"; below zero counts as zero. */
export function durationText(ms: number): string {
  const duration = Math.max(0, ms);
  if (duration < 999.5) return `${Math.round(duration)} ms`;
  if (duration < 59_950) return `${(duration / 1000).toFixed(1)} s`;
  const seconds = Math.round(duration / 1000);
  if (seconds < 3600) return twoUnits(seconds, 60, 'min', 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return twoUnits(minutes, 60, 'h', 'min');
  return twoUnits(Math.round(minutes / 60), 24, 'd', 'h');
}

function twoUnits(count: number, perLarge: number, large: string, small: string): string {
  const rest = count % perLarge;
  const text = `${Math.floor(count / perLarge)} ${large}`;
  return rest === 0 ? text : `${text} ${rest} ${small}`;
}
