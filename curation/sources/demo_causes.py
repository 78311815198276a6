"""The nouns of a rendered scene, and what each of the four causes does to the partner's path.

Metres, seconds, radians; x to the right of the ego lane's centre, z along the road; the camera is at the ego car's
(x, z), its front bumper HOOD metres ahead. All paths look back only: what a class does shows from the alert on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CLASSES = ("collision", "near_collision", "normal")
LENGTH_S = 9.0
HOOD, EGO_WIDTH, EGO_LENGTH = 1.5, 1.9, 4.5
LANE = 3.4
HOLD = 0.6  # seconds for which bodies that met stay together
GENTLE = 3.2  # m/s²: everyday slowing stays under it

SIZES = {  # width, length, height in metres
    "car": (1.85, 4.3, 1.45),
    "van": (2.0, 5.0, 2.2),
    "truck": (2.4, 7.5, 3.0),
    "pedestrian": (0.85, 0.85, 1.8),
}


@dataclass(frozen=True, slots=True)
class Drive:
    """What stays the same over a drive: the camera, light, weather, road. Triplets of a drive share all of it."""

    key: str
    height: float  # camera over the road, m
    focal: float  # in image widths
    horizon: float  # of the image height, from the top
    light: str
    weather: str
    road: str
    curve: float  # 1/m
    tint: tuple[float, float, float]
    hood: tuple[int, int, int]
    noise: float  # grey levels


@dataclass(slots=True)
class Actor:
    """A road user: sizes in metres, one position, heading (0: along the road) and lamp state per frame."""

    kind: str
    width: float
    length: float
    height: float
    colour: tuple[int, int, int]
    x: Array
    z: Array
    heading: Array
    brake: NDArray[np.bool_]


@dataclass(slots=True)
class Scene:
    """One class of one triplet: `x`, `z`, `speed`, `yaw`, `pitch`, `roll` of the ego car per frame, and all actors.

    `alert_s` is the first frame in which the three classes differ; `event_s` is the contact or the closest approach,
    None in normal. `actors[0]` is the partner. `static` holds what stands beside the road: (z, x, what, number).
    """

    triplet: int
    label: str
    cause: str
    role: str
    drive: Drive
    fps: int
    t: Array
    alert_s: float
    event_s: float | None
    trigger_s: float
    speed: Array
    z: Array
    x: Array
    yaw: Array
    pitch: Array
    roll: Array
    actors: list[Actor] = field(default_factory=list)
    static: list[tuple[float, float, str, float]] = field(default_factory=list)
    junction: float | None = None

    def clearance(self) -> Array:
        """Metres between the ego car's body and the partner's, per frame (boxes, turned by quarter turns only)."""
        p = self.actors[0]
        across = np.abs(np.sin(p.heading)) > 0.7
        half_x = np.where(across, p.length, p.width) / 2
        half_z = np.where(across, p.width, p.length) / 2
        dx = np.abs(p.x - self.x) - half_x - EGO_WIDTH / 2
        dz = np.abs(p.z - (self.z + HOOD - EGO_LENGTH / 2)) - half_z - EGO_LENGTH / 2
        return np.asarray(np.hypot(np.maximum(dx, 0), np.maximum(dz, 0)))


def smooth(u: Array) -> Array:
    """From 0 to 1 with a level start and end, as `u` goes from 0 to 1."""
    u = np.clip(u, 0, 1)
    return np.asarray(u * u * (3 - 2 * u))


def rate(x: Array, t: Array) -> Array:
    """The change per second up to each frame: looks back only, so nothing shows before it begins."""
    return np.asarray(np.diff(x, prepend=x[0]) / (t[1] - t[0]))


@dataclass(slots=True)
class Play:
    """The shared draws `d` and the times of a triplet, and which class is played."""

    t: Array
    alert: float
    touch: float
    closest: float
    label: str
    d: dict[str, Any]

    def since_alert(self, end: float) -> Array:
        """0 at the alert, 1 at `end`, clipped."""
        return np.asarray(np.clip((self.t - self.alert) / (end - self.alert), 0, 1))

    def after(self, start: float, seconds: float) -> Array:
        """0 at `start`, 1 `seconds` later, clipped."""
        return np.asarray(np.clip((self.t - start) / seconds, 0, 1))

    @property
    def moment(self) -> float:
        """When it happens, or would: the touch in a collision, else the closest approach."""
        return self.touch if self.label == "collision" else self.closest

    def speed(self, *, struck: bool) -> Array:
        """The ego car's speed per frame, m/s: brakes late, hard or gently, and goes on at one speed in all classes."""
        d, a, v0 = self.d, self.alert, self.d["v0"]
        dt = self.touch - a
        low = 0.12 if struck and self.label == "collision" else 0.02
        if self.label == "collision":
            keys = [(a + 0.45 * dt, 1), (self.touch, 0.6), (self.touch + 0.15, low), (self.touch + 0.9, low)]
        elif self.label == "near_collision":
            # travel up to the closest approach = travel of the collision - margin; v: 1 until `late`, then down to low
            span = self.closest - a
            travel = (0.45 + 0.8 * 0.55) * dt / span - d["margin"] / (v0 * span)
            late = (travel - (1 + low) / 2) / (1 - (1 + low) / 2)
            late = float(np.clip(late, 0.05, 0.5))
            keys = [(a + late * span, 1), (self.closest, low), (self.closest + 0.9, low)]
        else:
            low = max(d["gentle"], 1 - 0.95 * GENTLE * (self.closest - a) / v0)
            keys = [(a + 0.1, 1), (self.closest + 0.1, low), (self.closest + 0.5, low)]
        times = [0.0, *(k[0] for k in keys), self.closest + 0.9 + d["settle"]]
        return np.asarray(np.interp(self.t, times, [1.0, *(k[1] for k in keys), d["v_end"]]) * v0)


def lead(s: Scene, p: Play, lead: Actor) -> None:
    """Ahead in our lane, brakes at the alert: hard in all classes but normal."""
    d = p.d
    g0 = d["gap"] * d["v0"] * (p.touch - p.alert)
    if p.label == "collision":
        gap = g0 * (1 - p.since_alert(p.touch) ** 1.35)
        back = p.after(p.touch + HOLD, d["settle"])
        gap = np.where(p.t >= p.touch - 1e-9, d["after_gap"] * (1 - (1 - back) ** 2), gap)
    else:
        least = d["margin"] if p.label == "near_collision" else 5.0 + 2.0 * d["start"]
        least = min(least, g0 - 0.5)
        gap = g0 + (least - g0) * smooth(p.since_alert(p.closest))
        gap = gap + (d["after_gap"] - least) * smooth(p.after(p.closest + 0.2, d["settle"]))
    lead.z = s.z + HOOD + gap + lead.length / 2
    away = d["side"] * LANE * smooth(p.after(p.closest + 1.0, 1.8)) * (d["variant"] < 0.4)
    lead.x = 0.15 * np.sin(0.5 * p.t + 9 * d["variant"]) + away
    lead.heading = rate(lead.x, p.t) / 6
    lead.brake = (p.t >= p.alert) & (p.t < p.closest + 0.5)
    if p.label == "collision":
        lead.heading = lead.heading + _knock(p, 0.5 * d["side"])


def _knock(p: Play, size: float) -> Array:
    """A damped swing of a body that was hit."""
    u = np.maximum(p.t - p.touch, 0)
    return np.asarray(size * np.exp(-2.0 * u) * np.sin(4 * u))


def _stay(s: Scene, p: Play) -> Array:
    """How far the ego car carries along what it hit, until HOLD is over."""
    at = np.interp([p.touch, p.touch + HOLD], p.t, s.z)
    return np.asarray(np.clip(s.z, at[0], at[1]) - at[0])


def cut_in(s: Scene, p: Play, car: Actor) -> None:
    """From the lane beside; `struck`: its flank meets ours, else it is in front and our front meets its rear."""
    d, side = p.d, p.d["side"]
    beside = d["struck"]
    s.role = "struck" if beside else "striking"
    g0 = 1.0 + 2.5 * d["start"] if beside else 3.0 + 2.5 * d["start"]
    least = {"collision": -0.8 if beside else 0.0, "near_collision": -0.4 if beside else d["margin"],
             "normal": 4.0 + 3 * d["start"]}[p.label]  # fmt: skip
    until = p.moment if p.label != "normal" else p.alert + 0.7 * (p.closest - p.alert)
    u = p.since_alert(until)
    gap = g0 + (least - g0) * (u**1.6 if p.label == "collision" else smooth(u))
    back = p.after(p.moment + (HOLD if p.label == "collision" else 0.1), d["settle"])
    gap = gap + (d["after_gap"] - least) * (1 - (1 - back) ** 2 if p.label == "collision" else smooth(back))
    wide = (car.width + EGO_WIDTH) / 2
    if p.label == "normal":
        lateral = LANE * (1 - smooth((p.since_alert(p.closest + 0.5) - 0.15) / 0.8))
    elif beside:
        near = wide + (0 if p.label == "collision" else 0.9 + 0.6 * d["place"] ** 2)
        lateral = LANE + (near - LANE) * (u**1.5 if p.label == "collision" else smooth(u))
        if p.label == "collision":
            lateral = lateral + 0.8 * smooth(p.after(p.touch + HOLD, 0.3))
        lateral = lateral * (1 - smooth(p.after(p.moment + 0.2 + HOLD, 1.2)))
    else:
        lateral = LANE * (1 - smooth(u / 0.8))
    follows = (p.t >= p.alert) * (lateral < LANE - 1e-9) if beside else np.zeros_like(p.t)
    car.x = side * lateral + follows * (s.x if p.label != "normal" else 0)
    car.z = s.z + HOOD + gap + car.length / 2
    car.heading = np.clip(rate(car.x, p.t) / 7, -0.3, 0.3)
    if p.label == "collision":
        car.heading = car.heading + _knock(p, 0.6 * side)
    car.brake = (p.t >= p.alert + 0.3) & (p.t < p.closest)


def crossing(s: Scene, p: Play, car: Actor) -> None:
    """Out of a side road; `struck`: its front meets our flank, else our front meets its side (nearly, in both)."""
    d, side = p.d, p.d["side"]
    s.role = "struck" if d["struck"] else "striking"
    contact = _collision_travel(s, p) + HOOD
    start = 8.0 + 1.5 * d["start"]
    nose = EGO_WIDTH / 2 + car.length / 2
    at = s.x[np.searchsorted(p.t, p.moment - 1e-9)] * side
    z = contact + car.width / 2 - (0.3 if d["struck"] else 0)
    push = np.zeros_like(p.t)
    if d["struck"] and p.label != "near_collision":
        stop = at + nose + (0.0 if p.label == "collision" else 2.6)
        u = p.since_alert(p.moment if p.label != "normal" else p.closest - 0.2)
        x = start + (stop - start) * (u**1.2 if p.label == "collision" else smooth(u))
        if p.label == "collision":
            x = x + 1.0 * (1 - (1 - p.after(p.touch + HOLD, 0.5)) ** 2)
    else:
        if p.label == "normal" and d["variant"] < 0.5:  # it gives way at the edge
            x = start + (nose + 2.4 - start) * smooth(p.since_alert(p.closest - 0.3))
        else:
            reach = {"collision": p.touch, "near_collision": p.closest, "normal": p.alert + 0.55 * (p.touch - p.alert)}
            u = (p.t - p.alert) / (reach[p.label] - p.alert)
            middle = at + d["place"] * 1.2
            x = start + (middle - start) * np.maximum(u, 0) ** 1.25
            if p.label == "collision":
                push = _stay(s, p) + 1.4 * (1 - (1 - p.after(p.touch + HOLD, 0.5)) ** 2)
                u = np.maximum(p.t - p.touch - HOLD, 0)
                x = np.where(p.t > p.touch, middle - (3.0 * u + 5.0 * u * u), x)
    car.x = side * x
    car.z = z + push
    car.heading = np.full_like(p.t, -side * np.pi / 2)
    if p.label == "collision":
        car.heading = car.heading + _knock(p, 0.5 * side)
    s.junction = z


def pedestrian(s: Scene, p: Play, person: Actor) -> None:
    """From the kerb; runs on across, in normal stops at the lane or comes after us."""
    d, side = p.d, p.d["side"]
    contact = _collision_travel(s, p) + HOOD
    at = s.x[np.searchsorted(p.t, p.moment - 1e-9)] * side
    start, middle = 4.6 + 0.8 * d["start"], at + 0.7 * d["place"]
    if p.label == "normal":
        stop = EGO_WIDTH / 2 + 2.1
        x = start + (stop - start) * smooth(p.since_alert(p.touch - 0.2))
        if d["variant"] < 0.5:
            x = x - 2.2 * np.maximum(p.t - p.closest - 0.8, 0)
    else:
        u = np.maximum((p.t - p.alert) / (p.moment - p.alert), 0)
        x = start + (middle - start) * u**1.1
        if p.label == "collision":
            aside = -1 if d["variant"] < 0.5 else 1
            thrown = 3.0 * (1 - (1 - p.after(p.touch + HOLD, 0.6)) ** 2) + 2.0 * smooth(p.after(p.touch + 1.1, 1.2))
            x = np.where(p.t > p.touch, middle + aside * thrown, x)
    push = np.zeros_like(p.t)
    if p.label == "collision":
        push = _stay(s, p) + 2.0 * (1 - (1 - p.after(p.touch + HOLD, 0.6)) ** 2)
    person.x = side * x
    person.z = contact + person.width / 2 + push


def _collision_travel(s: Scene, p: Play) -> float:
    """Where the camera is at the touch when the triplet is played as a collision: fixes where the others wait."""
    struck = s.cause == "crossing_vehicle" and p.d["struck"]
    v = Play(p.t, p.alert, p.touch, p.closest, "collision", p.d).speed(struck=struck)
    z = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2) / s.fps])
    return float(z[np.searchsorted(p.t, p.touch - 1e-9)])


CAUSES = {"lead_brakes": lead, "cut_in": cut_in, "crossing_vehicle": crossing, "pedestrian": pedestrian}
