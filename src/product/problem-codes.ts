/** The problems of the product, in the form of `problems` in kit/problem-codes.ts. */
export const productProblems = {} as const;
