import { type SQL, sql } from "drizzle-orm";
import { events } from "./tables.ts";

/** A place in the order of events. */
export interface EventCursor {
  transactionId: string;
  position: bigint;
}

/** Before all events. */
export const START: EventCursor = { transactionId: "0", position: 0n };

const HEX_DIGITS = 16;
const hex = (number: bigint) => number.toString(16).padStart(HEX_DIGITS, "0");

/** 32 hexadecimal digits: a later cursor is greater, also as text. */
export const formatCursor = ({ transactionId, position }: EventCursor): string =>
  hex(BigInt(transactionId)) + hex(position);

/** PostgreSQL compares both numbers, and the second one is a signed integer. */
const FORM = /^[\da-f]{16}[0-7][\da-f]{15}$/;

export function parseCursor(text: string): EventCursor | undefined {
  if (!FORM.test(text)) return undefined;
  const [transactionId, position] = [text.slice(0, HEX_DIGITS), text.slice(HEX_DIGITS)];
  return {
    transactionId: BigInt(`0x${transactionId}`).toString(),
    position: BigInt(`0x${position}`),
  };
}

export const isBefore = (a: EventCursor, b: EventCursor): boolean =>
  formatCursor(a) < formatCursor(b);

/** True in SQL for the events after a cursor. */
export const isAfter = ({ transactionId, position }: EventCursor): SQL =>
  sql`(${events.transactionId}, ${events.position}) > (${transactionId}::xid8, ${position.toString()}::bigint)`;
