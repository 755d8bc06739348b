export const support = "a fixture of imports.test.ts";
