"use strict";
// The rules of Snake: no clock, no screen. Loaded by the page, and by tests in Node.js.
(function (root) {
  const SIZE = 17;
  const START_LENGTH = 4;
  const DIRECTIONS = {
    up: { x: 0, y: -1, back: "down" },
    down: { x: 0, y: 1, back: "up" },
    left: { x: -1, y: 0, back: "right" },
    right: { x: 1, y: 0, back: "left" },
  };
  const MOST_TURNS_AHEAD = 3;

  const same = (a, b) => a.x === b.x && a.y === b.y;

  class Game {
    /** `walls` says whether the edges kill; `random` returns numbers from 0 to below 1. */
    constructor({ walls, random = Math.random }) {
      this.walls = walls;
      this.random = random;
      this.state = "ready";
      this.score = 0;
      this.face("right");
      this.food = { x: 12, y: 8 };
    }

    /** Face a direction before the first step, so any first key is valid. */
    face(name) {
      const { x, y } = DIRECTIONS[name];
      this.direction = name;
      this.turns = [];
      // The middle of the body is the middle of the board.
      this.body = Array.from({ length: START_LENGTH }, (_, i) => ({ x: 8 + x * (1 - i), y: 8 + y * (1 - i) }));
      this.left = null; // the field that the tail left with the last step
    }

    get head() {
      return this.body[0];
    }

    get length() {
      return this.body.length;
    }

    /** Queue a turn for the next steps; return false if it leads straight on or back, or the queue is full. */
    turn(name) {
      const last = this.turns.at(-1) ?? this.direction;
      if (name === last || name === DIRECTIONS[last].back || this.turns.length >= MOST_TURNS_AHEAD) return false;
      this.turns.push(name);
      return true;
    }

    /** Return where the next step in that direction takes the head; null if that is beyond the wall. */
    ahead(name = this.direction) {
      const { x, y } = DIRECTIONS[name];
      const next = { x: this.head.x + x, y: this.head.y + y };
      const outside = next.x < 0 || next.y < 0 || next.x >= SIZE || next.y >= SIZE;
      if (outside && this.walls) return null;
      return { x: (next.x + SIZE) % SIZE, y: (next.y + SIZE) % SIZE };
    }

    /** Return whether the next step in that direction ends the game. The tail's field is free: the tail moves on. */
    deadly(name = this.direction) {
      const next = this.ahead(name);
      return next === null || this.body.slice(0, -1).some((part) => same(part, next));
    }

    /** Take one step and return "moved", "ate", "won" or "over". */
    step() {
      if (this.state === "over" || this.state === "won") return this.state;
      this.state = "playing";
      this.direction = this.turns.shift() ?? this.direction;
      if (this.deadly()) {
        this.left = null;
        return (this.state = "over");
      }
      const next = this.ahead();
      this.body.unshift(next);
      if (!same(next, this.food)) {
        this.left = this.body.pop();
        return "moved";
      }
      this.left = null;
      this.score += 1;
      this.food = this.placeFood();
      return this.food ? "ate" : (this.state = "won");
    }

    /** Return a free field, all equally likely; null if the board is full. */
    placeFood() {
      const taken = new Set(this.body.map((part) => part.y * SIZE + part.x));
      const free = [];
      for (let field = 0; field < SIZE * SIZE; field++) if (!taken.has(field)) free.push(field);
      if (!free.length) return null;
      const field = free[Math.floor(this.random() * free.length)];
      return { x: field % SIZE, y: Math.floor(field / SIZE) };
    }

    /** Return how far the apple is, by the shorter way: {x, y} in steps to the right and down. */
    toFood() {
      const way = (from, to) => {
        const straight = to - from;
        if (this.walls || Math.abs(straight) <= SIZE / 2) return straight;
        return straight - Math.sign(straight) * SIZE;
      };
      return { x: way(this.head.x, this.food.x), y: way(this.head.y, this.food.y) };
    }
  }

  // Milliseconds per step: at the start, at the fastest, and how many fewer with each apple.
  const PACES = {
    step: null,
    calm: { first: 230, least: 150, faster: 2 },
    classic: { first: 160, least: 80, faster: 2.5 },
    quick: { first: 110, least: 58, faster: 2 },
  };

  function stepMs(pace, score) {
    const { first, least, faster } = PACES[pace];
    return Math.max(least, first - faster * score);
  }

  root.Snake = { Game, DIRECTIONS, SIZE, PACES, stepMs };
})(globalThis);
