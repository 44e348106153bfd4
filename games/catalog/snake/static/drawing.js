"use strict";
// The board on a canvas: sharp on any screen, smooth between two steps.
(function (root) {
  const { SIZE, DIRECTIONS } = root.Snake;
  const COLORS = ["field", "field-2", "snake-tail", "snake-head", "snake-dead", "eye", "pupil", "apple", "apple-2",
    "leaf", "stem", "scales", "shadow", "spark"];
  const SPARK_MS = 520;

  class Drawing {
    constructor(canvas) {
      this.canvas = canvas;
      this.context = canvas.getContext("2d");
      this.sparks = [];
      this.readColors();
    }

    readColors() {
      const style = getComputedStyle(this.canvas);
      this.colors = Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    }

    /** Return the color of the skin, from 0 at the tail to 1 at the head. */
    skin(part) {
      const [tail, head] = ["snake-tail", "snake-head"].map((name) => parseInt(this.colors[name].slice(1), 16));
      const mix = [16, 8, 0].map((bits) => Math.round(((tail >> bits) & 255) * (1 - part) + ((head >> bits) & 255) * part));
      return `rgb(${mix})`;
    }

    /** Fit the board into a square of `side` CSS pixels, with fields of whole device pixels. */
    resize(side) {
      const density = Math.min(window.devicePixelRatio || 1, 3);
      this.cell = Math.max(4, Math.floor((side * density) / SIZE));
      const pixels = this.cell * SIZE;
      if (this.canvas.width !== pixels) this.canvas.width = this.canvas.height = pixels;
      this.canvas.style.width = this.canvas.style.height = `${pixels / density}px`;
    }

    spark(field, now) {
      this.sparks.push({ x: field.x + 0.5, y: field.y + 0.5, began: now });
    }

    get busy() {
      return this.sparks.length > 0;
    }

    /** Draw the game; `part` is how far it is from the previous step to the last one, from 0 to 1. */
    draw(game, part, now) {
      const { context: c, cell } = this;
      c.setTransform(cell, 0, 0, cell, 0, 0);
      this.drawFields();
      if (game.food) this.drawApple(game.food);
      this.drawSnake(game, part);
      this.drawSparks(now);
    }

    drawFields() {
      const { context: c, colors } = this;
      c.fillStyle = colors.field;
      c.fillRect(0, 0, SIZE, SIZE);
      c.fillStyle = colors["field-2"];
      for (let y = 0; y < SIZE; y++) for (let x = y % 2; x < SIZE; x += 2) c.fillRect(x, y, 1, 1);
    }

    /** Return the snake's middle line from head to tail, in one piece: it goes on beyond the edge where it wraps. */
    line(game, part) {
      const near = (from, to) => {
        const step = (a, b) => (Math.abs(b - a) > 1 ? a - Math.sign(b - a) : b);
        return { x: step(from.x, to.x), y: step(from.y, to.y) };
      };
      const unrolled = [{ ...game.body[0] }];
      for (let i = 1; i < game.body.length; i++) {
        const before = game.body[i - 1];
        const next = near(before, game.body[i]);
        const last = unrolled[i - 1];
        unrolled.push({ x: last.x + next.x - before.x, y: last.y + next.y - before.y });
      }
      const between = (from, to) => ({ x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part });
      const points = unrolled.slice();
      if (game.state === "playing" && part < 1) {
        points[0] = between(unrolled[1], unrolled[0]);
        if (game.left) {
          const tail = game.body.at(-1);
          const shift = near(tail, game.left);
          const end = unrolled.at(-1);
          points.push(between({ x: end.x + shift.x - tail.x, y: end.y + shift.y - tail.y }, end));
        }
      }
      return points.map((point) => ({ x: point.x + 0.5, y: point.y + 0.5 }));
    }

    drawSnake(game, part) {
      const points = this.line(game, part);
      const all = (key, choose) => choose(...points.map((point) => point[key]));
      const from = { x: all("x", Math.min), y: all("y", Math.min) };
      const to = { x: all("x", Math.max), y: all("y", Math.max) };
      // Draw it once more for each board's width that it extends beyond an edge.
      for (let dx = -SIZE; dx <= SIZE; dx += SIZE) {
        for (let dy = -SIZE; dy <= SIZE; dy += SIZE) {
          const outside = to.x + dx < -1 || from.x + dx > SIZE + 1 || to.y + dy < -1 || from.y + dy > SIZE + 1;
          if (!outside) this.drawBody(game, points.map((point) => ({ x: point.x + dx, y: point.y + dy })));
        }
      }
    }

    drawBody(game, points) {
      const { context: c, colors } = this;
      const dead = game.state === "over";
      const head = points[0];
      c.lineCap = c.lineJoin = "round";
      c.save();
      c.translate(0, 0.1);
      this.trace(points, 0.78, colors.shadow);
      c.restore();
      if (dead) {
        this.trace(points, 0.78, colors["snake-dead"]);
      } else {
        // From the tail on, each piece a little brighter.
        for (let i = points.length - 1; i > 0; i--) {
          this.trace([points[i], points[i - 1]], 0.78, this.skin(1 - (i - 1) / points.length));
        }
        // Scales along the back; they start at the head, so they travel with it.
        c.setLineDash([0.02, 0.48]);
        this.trace(points, 0.15, colors.scales);
        c.setLineDash([]);
      }
      this.drawHead(head, DIRECTIONS[game.direction], dead);
    }

    trace(points, width, color) {
      const { context: c } = this;
      c.lineWidth = width;
      c.strokeStyle = color;
      c.beginPath();
      c.moveTo(points[0].x, points[0].y);
      for (const point of points.slice(1)) c.lineTo(point.x, point.y);
      if (points.length === 1) c.lineTo(points[0].x + 0.001, points[0].y);
      c.stroke();
    }

    drawHead(head, way, dead) {
      const { context: c, colors } = this;
      c.save();
      c.translate(head.x, head.y);
      c.rotate(Math.atan2(way.y, way.x));
      c.fillStyle = dead ? colors["snake-dead"] : colors["snake-head"];
      c.beginPath();
      c.ellipse(0.06, 0, 0.52, 0.47, 0, 0, Math.PI * 2);
      c.fill();
      for (const side of [-1, 1]) {
        c.fillStyle = colors.eye;
        c.beginPath();
        c.arc(0.14, side * 0.23, 0.155, 0, Math.PI * 2);
        c.fill();
        if (dead) {
          c.lineWidth = 0.06;
          c.strokeStyle = colors.pupil;
          c.beginPath();
          for (const tilt of [-1, 1]) {
            c.moveTo(0.14 - 0.08, side * 0.23 - 0.08 * tilt);
            c.lineTo(0.14 + 0.08, side * 0.23 + 0.08 * tilt);
          }
          c.stroke();
        } else {
          c.fillStyle = colors.pupil;
          c.beginPath();
          c.arc(0.19, side * 0.23, 0.085, 0, Math.PI * 2);
          c.fill();
        }
      }
      c.restore();
    }

    drawApple(field) {
      const { context: c, colors } = this;
      c.save();
      c.translate(field.x + 0.5, field.y + 0.54);
      c.fillStyle = colors.shadow;
      c.beginPath();
      c.ellipse(0, 0.38, 0.28, 0.07, 0, 0, Math.PI * 2);
      c.fill();
      const skin = c.createRadialGradient(-0.12, -0.14, 0.05, 0, 0, 0.5);
      skin.addColorStop(0, colors["apple-2"]);
      skin.addColorStop(0.7, colors.apple);
      c.fillStyle = skin;
      c.beginPath();
      c.moveTo(0, -0.2);
      c.bezierCurveTo(-0.17, -0.33, -0.43, -0.2, -0.4, 0.07);
      c.bezierCurveTo(-0.38, 0.29, -0.19, 0.43, -0.1, 0.39);
      c.quadraticCurveTo(0, 0.34, 0.1, 0.39);
      c.bezierCurveTo(0.19, 0.43, 0.38, 0.29, 0.4, 0.07);
      c.bezierCurveTo(0.43, -0.2, 0.17, -0.33, 0, -0.2);
      c.fill();
      c.lineWidth = 0.08;
      c.lineCap = "round";
      c.strokeStyle = colors.stem;
      c.beginPath();
      c.moveTo(0, -0.2);
      c.quadraticCurveTo(0, -0.36, 0.07, -0.42);
      c.stroke();
      c.fillStyle = colors.leaf;
      c.beginPath();
      c.ellipse(0.2, -0.36, 0.16, 0.08, -0.5, 0, Math.PI * 2);
      c.fill();
      c.restore();
    }

    drawSparks(now) {
      const { context: c, colors } = this;
      this.sparks = this.sparks.filter((spark) => now - spark.began < SPARK_MS);
      for (const spark of this.sparks) {
        const part = (now - spark.began) / SPARK_MS;
        const far = 0.4 + 1.1 * (1 - (1 - part) ** 3);
        c.globalAlpha = 1 - part;
        c.fillStyle = colors.spark;
        for (let ray = 0; ray < 9; ray++) {
          const angle = (ray / 9) * Math.PI * 2 + spark.x;
          c.beginPath();
          c.arc(spark.x + Math.cos(angle) * far, spark.y + Math.sin(angle) * far, 0.12 * (1 - part * 0.6), 0, 7);
          c.fill();
        }
        c.globalAlpha = 1;
      }
    }
  }

  root.Snake.Drawing = Drawing;
})(globalThis);
