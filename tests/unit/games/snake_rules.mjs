// Situations of Snake, played by its own rules; the test reads what became of them.
import { readFile } from "node:fs/promises";

(0, eval)(await readFile(process.argv[2], "utf8"));
const { Game, SIZE, PACES, stepMs } = globalThis.Snake;
const steps = (game, number) => Array.from({ length: number }, () => game.step());
const results = {};

{
  const game = new Game({ walls: true });
  results.wall = { steps: steps(game, 9), state: game.state, head: game.head };
}
{
  const game = new Game({ walls: false });
  game.food = { x: 0, y: 0 };
  results.wrap = { last: steps(game, 9).at(-1), head: game.head };
}
{
  const game = new Game({ walls: true });
  game.food = { x: 10, y: 8 };
  results.eat = { step: game.step(), score: game.score, length: game.length, onBody: game.body.some((p) => p.x === game.food.x && p.y === game.food.y) };
}
{
  const game = new Game({ walls: true });
  results.back = { turned: game.turn("left"), direction: (game.step(), game.direction) };
}
{
  // Two quick keys within one step: both count, one step after the other.
  const game = new Game({ walls: true });
  results.quick = { turned: [game.turn("up"), game.turn("left"), game.turn("right")], went: [] };
  for (let i = 0; i < 2; i++) { game.step(); results.quick.went.push(game.direction); }
}
{
  // Four long, in a square: the head goes where the tail just was.
  const game = new Game({ walls: true });
  game.food = { x: 0, y: 0 };
  results.tail = ["up", "left", "down", "right"].map((way) => { game.turn(way); return game.step(); });
}
{
  const game = new Game({ walls: true });
  game.food = { x: 0, y: 0 };
  game.body.push({ x: 6, y: 8 }, { x: 5, y: 8 });
  results.bite = ["up", "left", "down"].map((way) => { game.turn(way); return game.step(); });
}
{
  // The whole board in one endless line; the last apple wins.
  const game = new Game({ walls: false, random: () => 0 });
  const body = [];
  for (let y = 0; y < SIZE; y++) for (let x = 0; x < SIZE; x++) body.push({ x: y % 2 ? SIZE - 1 - x : x, y });
  game.food = body.shift();
  game.body = body;
  game.direction = "left";
  results.full = { step: game.step(), state: game.state, length: game.length, food: game.food, after: game.step() };
}
{
  const places = new Set();
  for (let i = 0; i < SIZE * SIZE; i++) {
    const game = new Game({ walls: true, random: () => (i + 0.5) / (SIZE * SIZE) });
    const { x, y } = game.placeFood();
    places.add(`${x},${y}`);
    if (game.body.some((part) => part.x === x && part.y === y)) places.add("on the snake");
  }
  results.food = { places: places.size, onSnake: places.has("on the snake") };
}
results.paces = Object.fromEntries(
  Object.keys(PACES).filter((pace) => PACES[pace]).map((pace) => [pace, [0, 10, 500].map((score) => stepMs(pace, score))]),
);
console.log(JSON.stringify(results));
