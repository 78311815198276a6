"""Pixels of a rendered dashcam scene: perspective, road, scenery, vehicles and people, light, weather, sensor.

Everything is projected from world coordinates, so that pitch, yaw and roll of the camera leave no black corners. Drawn
at twice the size and averaged down. PIL and elementwise arithmetic only: the same planes on every CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from curation.ids import seeded
from curation.sources.demo_causes import LANE, Actor, Drive, Scene

SUPER = 2
NEAR, FAR = 0.45, 95.0
Colour = tuple[float, float, float]
Point = tuple[float, float]

AIR: dict[str, tuple[Colour, float]] = {  # colour of the sky, and how far one sees in metres
    "clear": ((150, 190, 232), 400.0),
    "overcast": ((186, 190, 196), 220.0),
    "rain": ((146, 152, 160), 110.0),
    "fog": ((196, 198, 200), 55.0),
    "snow": ((212, 216, 222), 90.0),
}
LIGHT = {"day": (1.0, 1.0, 1.0), "dusk": (0.86, 0.68, 0.60), "night": (0.34, 0.36, 0.46)}
GROUND = {"urban": (128, 124, 118), "suburban": (104, 132, 78), "rural": (118, 134, 66)}
ROAD = (92, 93, 97)


def _times(c: Colour, by: Colour | float) -> Colour:
    r, g, b = by if isinstance(by, tuple) else (by, by, by)
    return (c[0] * r, c[1] * g, c[2] * b)


def _fill(c: Colour) -> tuple[int, int, int]:
    return (min(255, int(c[0])), min(255, int(c[1])), min(255, int(c[2])))


class Painter:
    """One frame's camera and canvas. Colours are shaded by distance (fog) and light; lamps are not."""

    def __init__(self, scene: Scene, frame: int, size: tuple[int, int]) -> None:
        d = scene.drive
        self.width, self.height = size[0] * SUPER, size[1] * SUPER
        self.camera = d.height
        self.focal = d.focal * self.width
        self.cx = self.width / 2
        self.cy = d.horizon * self.height + self.focal * float(scene.pitch[frame])
        self.x, self.z = float(scene.x[frame]), float(scene.z[frame])
        self.yaw, self.roll, self.curve = float(scene.yaw[frame]), float(scene.roll[frame]), d.curve
        self.sky, self.range = AIR[d.weather]
        self.light = _times(LIGHT[d.light], d.tint)
        self.haze = _times(self.sky, self.light)
        self.night = d.light == "night"
        self.image = Image.new("RGB", (self.width, self.height), _fill(self.haze))
        self.draw = ImageDraw.Draw(self.image)

    def shade(self, c: Colour, depth: float) -> tuple[int, int, int]:
        """The colour as seen `depth` metres away: light, headlamps, haze."""
        k = math.exp(-max(depth, 0.0) / self.range)
        head = 0.75 * math.exp(-max(depth, 0.0) / 16) if self.night else 0.0
        red, green, blue = self.light
        lit = _times(_times(c, (red + head, green + head, blue + head * 0.9)), k)
        haze = _times(self.haze, 1 - k)
        return _fill((lit[0] + haze[0], lit[1] + haze[1], lit[2] + haze[2]))

    def point(self, x: float, y: float, z: float) -> Point:
        """World metres to canvas pixels; what is nearer than NEAR is pulled to it."""
        depth = z - self.z
        depth = depth if depth > NEAR else NEAR
        u = self.cx + self.focal * ((x - self.x + self.curve * depth * depth) / depth - self.yaw)
        v = self.cy + self.focal * (self.camera - y) / depth
        return u, v + self.roll * (u - self.cx)

    def ground(self, x0: float, x1: float, z0: float, z1: float, colour: Colour) -> None:
        """A flat patch on the ground, x0..x1 by z0..z1 (world); `point` written out, as most of a frame is ground."""
        near, far = max(z0 - self.z, NEAR), z1 - self.z
        if far <= near:
            return
        corners = []
        for depth, pair in ((near, (x0, x1)), (far, (x1, x0))):
            k = self.focal / depth
            v = self.cy + k * self.camera
            middle = self.cx + self.focal * (self.curve * depth - self.yaw) - k * self.x
            for x in pair:
                u = middle + k * x
                corners += [u, v + self.roll * (u - self.cx)]
        us = corners[::2]
        if max(us) > 0 and min(us) < self.width:
            self.draw.polygon(corners, self.shade(colour, (near + far) / 2))

    def strip(self, x0: float, x1: float, colour: Colour) -> None:
        """A band along the whole road, in pieces, because the road bends and fades."""
        cuts = (0.0, 4.0, 12.0, 35.0, FAR)
        for a, b in pairwise(cuts):
            self.ground(x0, x1, self.z + a, self.z + b, colour)

    def board(self, x: float, z: float, width: float, y0: float, y1: float, colour: Colour) -> None:
        """An upright rectangle that faces the camera."""
        (u0, v0), (u1, v1) = self.point(x - width / 2, y0, z), self.point(x + width / 2, y1, z)
        self.draw.rectangle([u0, v1, max(u1, u0), max(v0, v1)], self.shade(colour, z - self.z))


class Box:
    """A turned box in the world; faces 0 rear, 1 right, 2 front, 3 left seen along its heading."""

    def __init__(self, p: Painter, x: float, z: float, half_w: float, half_l: float, heading: float) -> None:
        c, s = math.cos(heading), math.sin(heading)
        self.p, self.x, self.z = p, x, z
        self.corners = [
            (x + a * half_w * c + b * half_l * s, z - a * half_w * s + b * half_l * c)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        ]

    def visible(self) -> list[int]:
        """The faces that look at the camera."""
        edges = enumerate(pairwise([*self.corners, self.corners[0]]))
        here = self.p
        return [i for i, ((ax, az), (bx, bz)) in edges if (bz - az) * (here.x - ax) > (bx - ax) * (here.z - az)]

    def quad(self, face: int, u0: float, u1: float, y0: float, y1: float, fill: tuple[int, int, int]) -> None:
        """The part u0..u1 (0..1 along the face) by heights y0..y1 of a face."""
        (ax, az), (bx, bz) = self.corners[face], self.corners[(face + 1) % 4]
        x0, z0, x1, z1 = ax + (bx - ax) * u0, az + (bz - az) * u0, ax + (bx - ax) * u1, az + (bz - az) * u1
        if max(z0, z1) - self.p.z < NEAR:
            return
        point = self.p.point
        self.p.draw.polygon([point(x0, y0, z0), point(x1, y0, z1), point(x1, y1, z1), point(x0, y1, z0)], fill)


def _vehicle(p: Painter, a: Actor, i: int) -> None:
    x, z, heading = float(a.x[i]), float(a.z[i]), float(a.heading[i])
    depth = z - p.z
    half_w, half_l = a.width / 2, a.length / 2
    tall = a.kind != "car"
    waist = a.height * (0.55 if tall else 0.62)
    shadow = Box(p, x, z, half_w * 1.08, half_l * 1.04, heading)
    if max(c[1] for c in shadow.corners) > p.z + NEAR:
        p.draw.polygon([p.point(cx, 0.0, cz) for cx, cz in shadow.corners], p.shade((34, 34, 36), depth))
    body = Box(p, x, z, half_w, half_l, heading)
    sides = body.visible()
    cabin = body
    if not tall:
        shift = -0.06 * a.length
        place = x + shift * math.sin(heading), z + shift * math.cos(heading)
        cabin = Box(p, *place, half_w * 0.88, half_l * 0.56, heading)
    glass, dark = p.shade((38, 46, 58), depth), p.shade((24, 24, 26), depth)
    for face in sides:
        k = (1.0, 0.78, 0.95, 0.78)[face]
        body.quad(face, 0, 1, 0.28, a.height if tall else waist, p.shade(_times(a.colour, k), depth))
        if face % 2:
            for u in (0.12, 0.7):
                body.quad(face, u, u + 0.18, 0.0, 0.62, dark)
        else:
            body.quad(face, 0.06, 0.94, 0.2, 0.42, dark)
    if not tall and max(c[1] for c in body.corners) > p.z + NEAR:  # bonnet and boot, seen from above
        p.draw.polygon([p.point(cx, waist, cz) for cx, cz in body.corners], p.shade(a.colour, depth))
    for face in cabin.visible():
        if not tall:
            cabin.quad(face, 0, 1, waist, a.height - 0.08, glass)
            k = 0.8 if face % 2 else 0.9
            cabin.quad(face, 0, 1, a.height - 0.1, a.height, p.shade(_times(a.colour, k), depth))
        elif face == 2 or a.kind == "van":
            less = 0.1 * (face % 2)
            cabin.quad(face, 0.1, 0.9, waist + less, a.height - 0.25 - less, glass)
    _lamps(p, a, i, body, sides, waist)


def _lamps(p: Painter, a: Actor, i: int, body: Box, sides: list[int], waist: float) -> None:
    low, high = waist - 0.32, waist - 0.08
    if 0 in sides:
        red = (255, 44, 30) if a.brake[i] else ((150, 18, 18) if not p.night else (190, 24, 20))
        for u in (0.03, 0.75):
            body.quad(0, u, u + 0.22, low, high, red)
        if a.brake[i]:
            body.quad(0, 0.38, 0.62, a.height - 0.18, a.height - 0.06, red)
    if 2 in sides:
        lamp = (255, 250, 214) if p.night else (236, 236, 226)
        for u in (0.04, 0.74):
            body.quad(2, u, u + 0.22, low - 0.05, high - 0.05, lamp)


def _person(p: Painter, a: Actor, i: int) -> None:
    x, z = float(a.x[i]), float(a.z[i])
    if z - p.z < NEAR:
        return
    step = 0.22 * math.sin(float(x) * 5.0)
    p.ground(x - 0.4, x + 0.4, z - 0.2, z + 0.3, (34, 34, 36))
    p.board(x - 0.12 - step / 2, z, 0.2, 0.0, 0.85, (40, 42, 60))
    p.board(x + 0.12 + step / 2, z, 0.2, 0.0, 0.85, (40, 42, 60))
    p.board(x, z, a.width, 1.05, 1.48, a.colour)
    p.board(x, z, a.width * 0.75, 0.7, 1.1, a.colour)
    p.board(x, z, 0.28, 1.5, 1.8, (214, 170, 140))


def _scenery(p: Painter, z: float, x: float, what: str, n: float, drive: Drive) -> None:
    if what == "t":
        p.board(x, z, 0.4, 0, 2.2, (84, 66, 50))
        w, top = 2.6 + 1.6 * n, 4.5 + 2.5 * n
        green = (232, 236, 240) if drive.weather == "snow" else (40 + 30 * n, 84 + 26 * n, 40)
        (u0, v0), (u1, v1) = p.point(x - w / 2, top, z), p.point(x + w / 2, 1.6, z)
        p.draw.ellipse([u0, v0, max(u1, u0), max(v1, v0)], p.shade(green, z - p.z))
    elif what == "b":
        box = Box(p, x, z, 4.0, 4.0, 0.0)
        base: Colour = (120 + 70 * n, 104 + 60 * ((n * 7) % 1), 92 + 60 * ((n * 13) % 1))
        top = 6 + 7 * ((n * 3) % 1)
        for face in box.visible():
            k = (1.0, 0.8, 1.0, 0.8)[face]
            box.quad(face, 0, 1, 0, top, p.shade(_times(base, k), z - p.z))
            lit = (250, 220, 140) if p.night and n > 0.4 else p.shade((70, 80, 96), z - p.z)
            for u in (0.12, 0.42, 0.72):
                for y in (1.2, 4.0):
                    box.quad(face, u, u + 0.16, y, y + 1.5, lit)
    elif what == "l":
        p.board(x, z, 0.16, 0, 6.0, (96, 98, 102))
        p.board(x - math.copysign(0.6, x), z, 1.2, 5.8, 6.1, (255, 240, 190) if p.night else (150, 150, 150))
    elif what == "p":
        p.board(x, z, 0.12, 0, 2.4, (150, 150, 154))
        p.board(x, z, 0.8, 1.9, 2.7, ((40, 80, 170), (190, 40, 40), (230, 200, 60))[int(n * 3)])
    elif what == "w":
        colour = ((190, 60, 60), (70, 90, 160), (210, 210, 206), (200, 160, 60))[int(n * 4)]
        p.board(x, z, 0.4, 0, 0.85, (44, 46, 60))
        p.board(x, z, 0.55, 0.8, 1.5, colour)
        p.board(x, z, 0.28, 1.5, 1.8, (210, 168, 140))
    else:
        p.board(x, z, 1.6 + n, 0, 0.9 + 0.5 * n, (70 + 30 * n, 100, 52))


def _road(p: Painter, scene: Scene) -> None:
    d = scene.drive
    ground: Colour = (226, 230, 234) if d.weather == "snow" else GROUND[d.road]
    far = p.cy + p.focal * p.camera / FAR
    tilt = p.roll * p.cx
    p.draw.polygon(
        [(0, far - tilt), (p.width, far + tilt), (p.width, p.height), (0, p.height)], p.shade(ground, FAR * 0.6)
    )
    p.strip(-60, 60, ground)
    road = _times(ROAD, 0.8 if d.weather == "rain" else 1.0)
    if d.road == "urban":
        p.strip(-14.5, 8.5, (150, 148, 144))
    if scene.junction is not None:
        p.ground(-60, 60, scene.junction - 3.5, scene.junction + 3.5, road)
    p.strip(-12.2, 5.4, road)
    white: Colour = (222, 222, 214)
    for x in (-5.1, 5.1):
        p.strip(x - 0.08, x + 0.08, white)
    p.strip(-5.9, -5.5, (200, 170, 70))
    first = math.floor(p.z / 9.0) * 9.0
    for x in (-LANE / 2, LANE / 2, -LANE * 2.1):
        for k in range(7):
            p.ground(x - 0.08, x + 0.08, first + 9.0 * k, first + 9.0 * k + 3.4, white)


def _weather(p: Painter, scene: Scene, frame: int) -> None:
    d = scene.drive
    if d.weather not in ("rain", "snow"):
        return
    r = seeded("demo weather", d.key, scene.triplet, frame)
    for _ in range(26):
        u, v = r.random() * p.width, r.random() * p.height
        if d.weather == "rain":
            length = p.height * (0.03 + 0.05 * r.random())
            p.draw.line([u, v, u + (u - p.cx) * 0.04, v + length], p.shade((208, 214, 224), 4), 1)
        else:
            s = 1 + 2 * r.random()
            p.draw.ellipse([u, v, u + s, v + s], p.shade((240, 242, 246), 4))


def paint(scene: Scene, frame: int, size: tuple[int, int]) -> Image.Image:
    """The RGB frame number `frame` of the scene, without sensor noise."""
    p = Painter(scene, frame, size)
    _sky(p, scene)
    _road(p, scene)
    things = [(s[0], -1 - k) for k, s in enumerate(scene.static) if NEAR + 0.8 < s[0] - p.z < FAR * 0.6]
    things += [(float(a.z[frame]), k) for k, a in enumerate(scene.actors) if -a.length < a.z[frame] - p.z < FAR]
    for _z, k in sorted(things, reverse=True):
        if k < 0:
            _scenery(p, *scene.static[-1 - k], scene.drive)
        elif scene.actors[k].kind == "pedestrian":
            _person(p, scene.actors[k], frame)
        else:
            _vehicle(p, scene.actors[k], frame)
    _weather(p, scene, frame)
    hood = p.shade(scene.drive.hood, 0)
    w, h = p.width, p.height
    edge = ((0.08, 1.0), (0.2, 0.945), (0.5, 0.925), (0.8, 0.945), (0.92, 1.0))
    p.draw.polygon([(u * w, v * h) for u, v in edge], hood)
    return p.image.reduce(SUPER)


def _sky(p: Painter, scene: Scene) -> None:
    """Lighter towards the horizon, and a skyline that turns with the camera."""
    top = p.shade(p.sky, 0)
    steps = 5
    for k in range(steps):
        f = 1 - 0.22 * (steps - k) / steps
        y0, y1 = p.cy * k / steps, p.cy * (k + 1) / steps
        tilt = p.roll * p.cx
        y0 -= 40 if k == 0 else 0
        shape = [(0, y0 - tilt), (p.width, y0 + tilt), (p.width, y1 + tilt), (0, y1 - tilt)]
        p.draw.polygon(shape, _fill(_times(top, f)))
    r = seeded("demo skyline", scene.drive.key)
    colour = p.shade((96, 104, 112), FAR * 0.7)
    angle = -1.3
    while angle < 1.3:
        wide, high = r.uniform(0.05, 0.2), r.uniform(0.01, 0.06)
        u0 = p.cx + p.focal * (angle - p.yaw)
        u1 = u0 + p.focal * wide
        angle += wide
        if u1 > 0 and u0 < p.width:
            base = p.cy + p.roll * (u0 - p.cx)
            p.draw.rectangle([u0, base - p.focal * high, u1, base + p.focal * 0.02], colour)


_CHROMA = [128 + round((v - 128) * 224 / 255) for v in range(256)]


def frames(scene: Scene, size: tuple[int, int], start: int = 0) -> Iterator[bytes]:
    """The scene's frames from number `start` on: I420 (Y, then U and V at half size), BT.601 limited range.

    The sensor: noise, and from the alert on a drift of exposure and noise that is drawn per file and knows no class.
    It is larger than what the event itself does to a file's mean brightness and encoded size.
    """
    w, h = size
    d = scene.drive
    tile = np.random.default_rng(scene.triplet).normal(0, d.noise, (h + 32, w + 32)).astype(np.float32)
    sensor = seeded("demo sensor", d.key, scene.triplet, scene.label)
    exposure, grain = sensor.uniform(-0.16, 0.16), sensor.uniform(-0.7, 0.9)
    for i in range(start, len(scene.t)):
        drift = min(max((float(scene.t[i]) - scene.alert_s) / 1.5, 0.0), 1.0)
        luma, cb, cr = paint(scene, i, size).convert("YCbCr").split()
        r = seeded("demo noise", scene.triplet, i)
        a, b = r.randrange(32), r.randrange(32)
        y = np.asarray(luma, dtype=np.float32) * np.float32(219 / 255 * (1 + exposure * drift)) + 16
        y += tile[a : a + h, b : b + w] * np.float32(1 + grain * drift)
        chroma = b"".join(c.reduce(2).point(_CHROMA).tobytes() for c in (cb, cr))
        yield np.clip(np.rint(y), 16, 235).astype(np.uint8).tobytes() + chroma
