import type { Config } from "../config/config.ts";
import { escaped } from "../kit/html.ts";
import type { Words } from "./words.ts";

/** A link to the product for the end of a flow. Empty if no setting names the product. */
export function openProductLink(config: Config): (words: Words) => string {
  const { verifyEmailUrl, resetPasswordUrl, signInUrl } = config;
  const [redirect] = [verifyEmailUrl, resetPasswordUrl, signInUrl].filter((url) => url);
  const product = config.productUrl ?? (redirect && new URL(redirect).origin);
  if (!product) return () => "";
  return (words) => {
    const text = words.continue.replace("{brand}", () => config.brandName);
    return `<p><a href="${escaped(product)}">${escaped(text)}</a></p>`;
  };
}
