"""Pixels of a rendered dashcam scene: perspective, road, scenery, vehicles and people, light, weather, sensor.

Everything is a polygon projected from world coordinates, so that pitch, yaw and roll of the camera leave no black
corners. Drawn at twice the size and averaged down. PIL and elementwise arithmetic only: the same planes on every CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from curation.ids import seeded
from curation.sources.demo_scene import LANE, Actor, Colour, Scene, T

SUPER = 2
NEAR, FAR = 0.45, 95.0
Edge = tuple[tuple[float, float], tuple[float, float]]  # two ground points (x, z)

AIR: dict[str, tuple[Colour, float]] = {  # colour of the sky, and how far one sees in metres
    "clear": ((150, 190, 232), 400.0),
    "overcast": ((186, 190, 196), 220.0),
    "rain": ((146, 152, 160), 110.0),
    "fog": ((196, 198, 200), 55.0),
    "snow": ((212, 216, 222), 90.0),
}
LIGHT: dict[str, Colour] = {"day": (1.0, 1.0, 1.0), "dusk": (0.86, 0.68, 0.60), "night": (0.34, 0.36, 0.46)}
GROUND: dict[str, Colour] = {"urban": (128, 124, 118), "suburban": (104, 132, 78), "rural": (118, 134, 66)}
WHITE, DARK, GLASS = (222, 222, 214), (28, 28, 30), (38, 46, 58)
BOARDS: dict[str, list[tuple[float, float, float, float, Colour]]] = {  # aside, width, from and to height, colour
    "tree": [(0, 0.4, 0, 2.2, (84, 66, 50)), (0, 3.4, 1.6, 5.8, (54, 96, 44))],
    "bush": [(0, 2.0, 0, 1.2, (84, 104, 54))],
    "lamp": [(0, 0.16, 0, 6.0, (96, 98, 102)), (-0.6, 1.2, 5.8, 6.1, (200, 194, 168))],
    "sign": [(0, 0.12, 0, 2.4, (150, 150, 154)), (0, 0.8, 1.9, 2.7, (60, 90, 160))],
}


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
        self.camera, self.curve = d.height, d.curve
        self.focal = d.focal * self.width
        self.cx = self.width / 2
        self.cy = d.horizon * self.height + self.focal * float(scene.pitch[frame])
        self.x, self.z = float(scene.x[frame]), float(scene.z[frame])
        self.yaw, self.roll = float(scene.yaw[frame]), float(scene.roll[frame])
        sky, self.range = AIR[d.weather]
        self.light = _times(LIGHT[d.light], d.tint)
        self.haze = _times(sky, self.light)
        self.night = d.light == "night"
        self.image = Image.new("RGB", (self.width, self.height), _fill(self.haze))
        self.draw = ImageDraw.Draw(self.image)

    def shade(self, c: Colour, depth: float) -> tuple[int, int, int]:
        """The colour as seen `depth` metres away: light, headlamps, haze."""
        k = math.exp(-depth / self.range)
        head = 0.75 * math.exp(-depth / 16) if self.night else 0.0
        red, green, blue = self.light
        lit = _times(c, (k * (red + head), k * (green + head), k * (blue + head * 0.9)))
        haze = _times(self.haze, 1 - k)
        return _fill((lit[0] + haze[0], lit[1] + haze[1], lit[2] + haze[2]))

    def polygon(self, points: Sequence[tuple[float, float, float]], colour: Colour, *, lamp: bool = False) -> None:
        """World points (x, y, z), filled; what is nearer than NEAR is pulled to it."""
        depths = [max(z - self.z, NEAR) for _, _, z in points]
        if max(depths) == NEAR:
            return
        us, corners = [], []
        for (x, y, _), depth in zip(points, depths, strict=True):
            u = self.cx + self.focal * ((x - self.x + self.curve * depth * depth) / depth - self.yaw)
            us.append(u)
            corners.append((u, self.cy + self.focal * (self.camera - y) / depth + self.roll * (u - self.cx)))
        if max(us) > -1 and min(us) < self.width + 1:  # else it is beside the picture
            self.draw.polygon(corners, _fill(colour) if lamp else self.shade(colour, sum(depths) / len(depths)))

    def ground(self, x0: float, x1: float, z0: float, z1: float, colour: Colour) -> None:
        """A flat patch, x0..x1 by z0..z1."""
        self.polygon([(x0, 0, z0), (x1, 0, z0), (x1, 0, z1), (x0, 0, z1)], colour)

    def strip(self, x0: float, x1: float, colour: Colour) -> None:
        """A band along the whole road, in pieces, because the road bends and fades."""
        for a, b in pairwise((0.0, 4.0, 12.0, 35.0, FAR)):
            self.ground(x0, x1, self.z + a, self.z + b, colour)

    def face(self, edge: Edge, u0: float, u1: float, y0: float, y1: float, c: Colour, *, lamp: bool = False) -> None:
        """The part u0..u1 (0..1 along the edge) by heights y0..y1 of the wall that stands on `edge`."""
        (ax, az), (bx, bz) = edge
        x0, z0, x1, z1 = ax + (bx - ax) * u0, az + (bz - az) * u0, ax + (bx - ax) * u1, az + (bz - az) * u1
        self.polygon([(x0, y0, z0), (x1, y0, z1), (x1, y1, z1), (x0, y1, z0)], c, lamp=lamp)

    def board(self, x: float, z: float, width: float, y0: float, y1: float, colour: Colour) -> None:
        """An upright rectangle across the road."""
        self.face(((x - width / 2, z), (x + width / 2, z)), 0, 1, y0, y1, colour)

    def box(self, x: float, z: float, width: float, length: float, heading: float) -> list[tuple[int, Edge]]:
        """The faces of a turned box that look at the camera: 0 rear, 1 right, 2 front, 3 left along its heading."""
        c, s = math.cos(heading) / 2, math.sin(heading) / 2
        corners = [
            (x + a * width * c + b * length * s, z - a * width * s + b * length * c)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
        ]
        edges = enumerate(pairwise(corners))
        return [(n, (a, b)) for n, (a, b) in edges if (b[1] - a[1]) * (self.x - a[0]) > (b[0] - a[0]) * (self.z - a[1])]


def _vehicle(p: Painter, a: Actor, i: int) -> None:
    x, z, heading = float(a.x[i]), float(a.z[i]), float(a.heading[i])
    waist, top = 0.6 * a.height, a.height - 0.12
    faces = p.box(x, z, a.width, a.length, heading)
    for n, edge in faces:
        side, brakes = n % 2 == 1, n == 0 and bool(a.brake[i])
        p.face(edge, -0.02, 1.02, 0, 0.3, DARK)  # shadow, bumper
        p.face(edge, 0, 1, 0.28, a.height, _times(a.colour, 0.78 if side else 1.0))
        if a.kind != "truck" or n == 2:
            p.face(edge, 0.08, 0.92, waist, top, GLASS)
        if side:
            for u in (0.12, 0.7):
                p.face(edge, u, u + 0.18, 0.0, 0.62, DARK)
            continue
        front: Colour = (255, 250, 214) if p.night else (236, 236, 226)
        lamp = front if n == 2 else (255, 44, 30) if brakes else (160, 20, 18)
        for u in (0.03, 0.75):
            p.face(edge, u, u + 0.22, waist - 0.32, waist - 0.08, lamp, lamp=True)
        if brakes:
            p.face(edge, 0.38, 0.62, top - 0.06, top + 0.06, lamp, lamp=True)


def _person(p: Painter, x: float, z: float, width: float, colour: Colour) -> None:
    step = 0.11 * math.sin(x * 5.0)
    p.ground(x - 0.4, x + 0.4, z - 0.2, z + 0.3, DARK)
    for leg in (-0.12 - step, 0.12 + step):
        p.board(x + leg, z, 0.2, 0.0, 0.85, (40, 42, 60))
    p.board(x, z, width, 0.8, 1.48, colour)
    p.board(x, z, 0.28, 1.5, 1.8, (214, 170, 140))


def _scenery(p: Painter, z: float, x: float, what: str, n: float) -> None:
    if what == "walker":
        return _person(p, x, z, 0.55, ((190, 60, 60), (70, 90, 160), (210, 210, 206), (200, 160, 60))[int(n * 4)])
    if what == "house":
        top, base = 6 + 7 * (n * 3 % 1), (120 + 70 * n, 104 + 60 * (n * 7 % 1), 92 + 60 * (n * 13 % 1))
        lit = p.night and n > 0.4
        for face, edge in p.box(x, z, 8.0, 8.0, 0.0):
            p.face(edge, 0, 1, 0, top, _times(base, 0.8 if face % 2 else 1.0))
            for u in (0.12, 0.42, 0.72):
                for y in (1.2, 4.0):
                    p.face(edge, u, u + 0.16, y, y + 1.5, (250, 220, 140) if lit else (70, 80, 96), lamp=lit)
        return None
    k = 0.8 + 0.5 * n
    for aside, width, y0, y1, colour in BOARDS[what]:
        p.board(x + math.copysign(aside, aside * x), z, k * width, k * y0, k * y1, _times(colour, k))


def _road(p: Painter, scene: Scene) -> None:
    d = scene.drive
    ground = (226, 230, 234) if d.weather == "snow" else GROUND[d.road]
    road = _times((92, 93, 97), 0.8 if d.weather == "rain" else 1.0)
    p.ground(-400, 400, p.z, p.z + 4 * FAR, ground)
    if d.road == "urban":
        p.strip(-14.5, 8.5, (150, 148, 144))
    if scene.junction is not None:
        p.ground(-60, 60, scene.junction - 3.5, scene.junction + 3.5, road)
    p.strip(-12.2, 5.4, road)
    for x in (-5.1, 5.1):
        p.strip(x - 0.08, x + 0.08, WHITE)
    p.strip(-5.9, -5.5, (200, 170, 70))
    first = math.floor(p.z / 9.0) * 9.0
    for x in (-LANE / 2, LANE / 2, -LANE * 2.1):
        for k in range(7):
            p.ground(x - 0.08, x + 0.08, first + 9.0 * k, first + 9.0 * k + 3.4, WHITE)


def _weather(p: Painter, scene: Scene, frame: int) -> None:
    """Streaks of rain, flakes of snow."""
    if scene.drive.weather not in ("rain", "snow"):
        return
    r = seeded("demo weather", scene.drive.key, scene.triplet, frame)
    for _ in range(26):
        u, v, k = r.random() * p.width, r.random() * p.height, r.random()
        if scene.drive.weather == "rain":
            p.draw.line([u, v, u + (u - p.cx) * 0.04, v + p.height * (0.03 + 0.05 * k)], p.shade((208, 214, 224), 4), 1)
        else:
            p.draw.ellipse([u, v, u + 1 + 2 * k, v + 1 + 2 * k], p.shade((240, 242, 246), 4))


def paint(scene: Scene, frame: int, size: tuple[int, int]) -> Image.Image:
    """The RGB frame number `frame` of the scene, without sensor noise."""
    p = Painter(scene, frame, size)
    _road(p, scene)
    things = [(s[0], -1 - k) for k, s in enumerate(scene.static) if NEAR + 0.8 < s[0] - p.z < FAR * 0.6]
    things += [(float(a.z[frame]), k) for k, a in enumerate(scene.actors) if -a.length < a.z[frame] - p.z < FAR]
    for z, k in sorted(things, reverse=True):
        if k < 0:
            _scenery(p, *scene.static[-1 - k])
        elif scene.actors[k].kind == "pedestrian":
            _person(p, float(scene.actors[k].x[frame]), z, scene.actors[k].width, scene.actors[k].colour)
        else:
            _vehicle(p, scene.actors[k], frame)
    _weather(p, scene, frame)
    hood = ((0.08, 1.0), (0.2, 0.945), (0.5, 0.925), (0.8, 0.945), (0.92, 1.0))
    p.draw.polygon([(u * p.width, v * p.height) for u, v in hood], p.shade(scene.drive.hood, 0))
    return p.image.reduce(SUPER)


def frames(scene: Scene, size: tuple[int, int], start: int = 0) -> Iterator[NDArray[np.uint8]]:
    """The scene's frames from number `start` on: I420 (Y, then U and V at half size) as (height * 3 / 2, width).

    The sensor: noise, and from the alert on a drift of exposure and noise that is drawn per file and knows no class.
    It is larger than what the event itself does to a file's mean brightness and encoded size.
    """
    w, h = size
    tile = np.random.default_rng(scene.triplet).normal(0, scene.drive.noise, (h + 32, w + 32)).astype(np.float32)
    sensor = seeded("demo sensor", scene.drive.key, scene.triplet, scene.label)
    exposure, grain = sensor.uniform(-0.16, 0.16), sensor.uniform(-0.7, 0.9)
    for i in range(start, len(T)):
        drift = min(max((float(T[i]) - scene.alert_s) / 1.5, 0.0), 1.0)
        luma, *chroma = paint(scene, i, size).convert("YCbCr").split()
        r = seeded("demo noise", scene.triplet, i)
        a, b = r.randrange(32), r.randrange(32)
        y = np.asarray(luma, dtype=np.float32) * np.float32(219 / 255 * (1 + exposure * drift)) + 16
        y += tile[a : a + h, b : b + w] * np.float32(1 + grain * drift)
        planes = [np.clip(np.rint(y), 16, 235).astype(np.uint8), *(np.asarray(c.reduce(2)) for c in chroma)]
        yield np.concatenate([plane.ravel() for plane in planes]).reshape(h * 3 // 2, w)
