const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** True for the text form of a UUID (RFC 9562, section 4). */
export const isId = (text: string): boolean => ID.test(text);
