/** Every event type of the product, and its data. */
export const productEvents = {};
