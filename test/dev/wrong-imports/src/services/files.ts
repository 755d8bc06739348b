import { support } from "../../test/support.ts";

export const write = async () => support + String((await import("../formats/header.ts")).read());
