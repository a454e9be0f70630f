/**
 * The entries of Bunker and of the product in one table. Throws if both have an entry of the same
 * name, which may happen after an upgrade: then the product's must be renamed.
 */
export function joinTables<Own extends object, Product extends object>(
  own: Own,
  product: Product,
): Own & Product {
  const shared = Object.keys(product).filter((name) => name in own);
  if (shared.length > 0)
    throw new Error(`src/product has a name that Bunker uses: ${shared.join(", ")}. Rename it.`);
  return { ...own, ...product };
}
