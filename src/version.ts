/** Version of both programs; a test keeps it equal to the one in package.json. */
export const version = "2.1.0";
