#!/usr/bin/env node
import { main } from "../src/programs/live-syncd/main.ts";

void main(process.argv.slice(2)).then((code) => process.exit(code));
