/** Every event type of the product, in the form of `bunkerEvents` in kit/event-types.ts. */
export const productEvents = {};
