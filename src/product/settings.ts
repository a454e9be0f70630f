/** The settings of the product, in the form of `settings` in config/settings.ts. */
export const productSettings = {};
