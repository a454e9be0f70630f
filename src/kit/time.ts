/** RFC 3339, section 5.6. `Date` also reads many other forms. */
const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** PostgreSQL reads years from 1 on, and no sign before a year. */
export function parseTime(text: string): Date | undefined {
  const time = new Date(TIME.test(text) ? text : Number.NaN);
  const year = time.getUTCFullYear();
  return year >= 1 && year <= 9999 ? time : undefined;
}
