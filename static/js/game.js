// How soon the game would start changes while one reads about it.

import { liveParts, whileVisible } from "./live.js";

whileVisible(liveParts(`${location.pathname}live/`), 4_000);
