"""What happens in a rendered dashcam scene: paths of the ego car and of everybody else, over time, without pixels.

A scene is drawn up once per triplet and played in three classes. All draws that set it up are shared, so the three
are equal in every number before the alert; at the alert the partner does the same kind of thing in all of them, and
how much of it, and how the ego car answers, decides the class:

- collision: the bodies touch, at exactly `event_s` for the first time; the ego car brakes too late.
- near_collision: no touch; hard braking (and often swerving) of the ego car leaves a small gap at `event_s`.
- normal: the same kind of actor keeps clear; the ego car at most slows gently.

What could give the class away without the event is shared as well: one jolt of the camera near the event time
(impact or pothole, same waveform) and another at any time, brake lamps at the alert, the gaps, lanes and speeds that
traffic moves on to afterwards, a vehicle that passes. Metres, seconds, radians; x to the right of the ego lane's
centre, z along the road; the camera is at the ego car's (x, z), its front bumper HOOD metres ahead.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.ids import seeded

Array = NDArray[np.float64]

CLASSES = ("collision", "near_collision", "normal")
CAUSES = ("lead_brakes", "cut_in", "crossing_vehicle", "pedestrian")
LENGTH_S = 9.0
HOOD, EGO_WIDTH, EGO_LENGTH = 1.5, 1.9, 4.5
LANE = 3.4
TOUCH = 0.02  # metres; less is contact
HOLD = 0.4  # seconds for which bodies that met stay together
HARD, GENTLE = 4.5, 3.2  # m/s²: an evasive braking reaches HARD, everyday slowing stays under GENTLE

SIZES = {  # width, length, height in metres
    "car": (1.85, 4.3, 1.45),
    "van": (2.0, 5.0, 2.2),
    "truck": (2.4, 7.5, 3.0),
    "pedestrian": (0.65, 0.65, 1.8),
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

    def braking(self) -> float:
        """The hardest slowing of the ego car from the alert to just before the event (or the end), m/s²."""
        end = self.event_s if self.event_s is not None else LENGTH_S
        during = (self.t >= self.alert_s) & (self.t <= end)
        return float(-np.min(np.diff(self.speed[during]))) * self.fps


def smooth(u: Array) -> Array:
    u = np.clip(u, 0, 1)
    return np.asarray(u * u * (3 - 2 * u))


def rate(x: Array, t: Array) -> Array:
    """The change per second up to each frame: looks back only, so nothing shows before it begins."""
    return np.asarray(np.diff(x, prepend=x[0]) / (t[1] - t[0]))


def drive_of(seed: int, index: int) -> Drive:
    """The drive number `index`; light, weather and road take turns, so few drives already show all of them."""
    r = seeded("demo drive", seed, index)
    light = ("day", "dusk", "day", "night")[index % 4]
    weather = ("clear", "rain", "overcast", "fog", "snow")[(index + index // 4) % 5]
    road = ("urban", "suburban", "rural")[(index + index // 2) % 3]
    shade = r.uniform(0.92, 1.08)
    tint = (shade * r.uniform(0.95, 1.05), shade, shade * r.uniform(0.95, 1.05))
    hood = r.choice([(30, 30, 34), (70, 20, 20), (28, 42, 66), (92, 94, 96), (52, 60, 50)])
    return Drive(
        key=f"drive-{r.getrandbits(32):08x}",
        height=r.uniform(1.2, 1.5),
        focal=r.uniform(0.52, 0.60),
        horizon=r.uniform(0.40, 0.46),
        light=light,
        weather=weather,
        road=road,
        curve=r.uniform(-0.0012, 0.0012),
        tint=tint,
        hood=hood,
        noise=r.uniform(1.0, 2.5) + (1.0 if light == "night" else 0.0),
    )


def cause_of(triplet: int, drives: int) -> str:
    """Causes take turns within a drive and over drives."""
    return CAUSES[(triplet // drives + triplet) % 4]


def simulate(seed: int, triplet: int, label: str, *, drives: int, fps: int = 10) -> Scene:
    """The scene of `triplet` played as `label`. Equal arguments give equal numbers; no other triplet matters."""
    r = seeded("demo triplet", seed, triplet)
    cause = cause_of(triplet, drives)
    t = np.arange(round(LENGTH_S * fps)) / fps
    first = round(r.uniform(3.1, 3.6) * fps)  # whole frames, so that times are exact
    second = first + round(r.uniform(1.2, 1.6) * fps)
    alert, touch = first / fps, second / fps
    closest = (second + round(r.uniform(0.3, 0.5) * fps)) / fps
    trigger = round(alert + 1.0 + r.uniform(0, 0.6), 2)
    d: dict[str, Any] = {
        "v0": r.uniform(9, 13),
        "side": r.choice((-1, 1)),
        "struck": r.random() < 0.4,
        "margin": r.uniform(1.0, 1.8),
        "swerve": r.choice((0.0, r.uniform(0.5, 0.9))),
        "late_swerve": r.choice((0.0, r.uniform(0.2, 0.4))),
        "drift": r.uniform(0.15, 0.4),
        "gentle": r.uniform(0.45, 0.85),
        "v_end": r.uniform(0.55, 0.95),
        "settle": r.uniform(1.0, 1.4),
        "after_gap": r.uniform(6, 11),
        "variant": r.random(),
        "gap": r.uniform(0.40, 0.50),
        "place": r.uniform(-0.7, 0.7),
        "start": r.random(),
    }
    event = touch if label == "collision" else None
    play = _Play(t, alert, touch, closest, label, d)
    speed = play.speed(struck=cause == "crossing_vehicle" and bool(d["struck"]))
    scene = Scene(
        triplet, label, cause, "striking", drive_of(seed, triplet % drives), fps, t, alert, event, trigger,
        speed, np.zeros_like(t), np.zeros_like(t), np.zeros_like(t), np.zeros_like(t), np.zeros_like(t),
    )  # fmt: skip
    scene.z[1:] = np.cumsum((speed[1:] + speed[:-1]) / 2) / fps
    _steer(scene, play)
    partner = {"lead_brakes": _lead, "cut_in": _cut_in, "crossing_vehicle": _crossing, "pedestrian": _pedestrian}
    kind = "pedestrian" if cause == "pedestrian" else r.choice(("car", "car", "van", "truck"))
    if kind == "truck" and cause == "crossing_vehicle":
        kind = "van"
    width, length, height = (s * r.uniform(0.95, 1.05) for s in SIZES[kind])
    length = width if kind == "pedestrian" else length
    still = np.zeros_like(t)
    actor = Actor(kind, width, length, height, _colour(r, kind), still, still, still, still > 0)
    scene.actors.append(actor)
    partner[cause](scene, play, actor)
    if label == "near_collision":
        gap = scene.clearance()
        scene.event_s = float(t[int(np.argmax(gap < gap.min() + 0.1))])
    _traffic(scene, play, r)
    _shake(scene, play, r)
    return scene


@dataclass(slots=True)
class _Play:
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
        return np.asarray(np.clip((self.t - start) / seconds, 0, 1))

    @property
    def moment(self) -> float:
        return {"collision": self.touch, "near_collision": self.closest, "normal": self.closest}[self.label]

    def speed(self, *, struck: bool) -> Array:
        d, a, v0 = self.d, self.alert, self.d["v0"]
        dt = self.touch - a
        low = 0.4 if struck and self.label == "collision" else 0.02
        if self.label == "collision":
            keys = [(a + 0.45 * dt, 1), (self.touch, 0.6), (self.touch + 0.15, low), (self.touch + 0.8, low)]
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


def _steer(s: Scene, p: _Play) -> None:
    """The ego car's way across its lane: swerves away from `side` before an event, drifts otherwise."""
    d = p.d
    size = {"collision": d["late_swerve"], "near_collision": d["swerve"], "normal": d["drift"]}[p.label]
    start = {"collision": p.touch - 0.5, "near_collision": p.alert + 0.5, "normal": p.alert}[p.label]
    out = smooth((p.t - start) / max(p.moment - start, 0.3)) * (1 - smooth((p.t - p.moment - 0.2) / 1.2))
    s.x = -d["side"] * size * out + 0.12 * np.sin(0.7 * p.t + 6 * d["variant"])
    s.yaw = rate(s.x, p.t) / np.maximum(s.speed, 3) * 0.8


def _lead(s: Scene, p: _Play, lead: Actor) -> None:
    d = p.d
    g0 = d["gap"] * d["v0"] * (p.touch - p.alert)
    if p.label == "collision":
        gap = g0 * (1 - p.since_alert(p.touch) ** 1.35)
        back = p.after(p.touch + HOLD, d["settle"])
        gap = np.where(p.t >= p.touch - 1e-9, d["after_gap"] * (1 - (1 - back) ** 2), gap)
    else:
        least = d["margin"] if p.label == "near_collision" else 4.0 + 2.5 * d["start"]
        least = min(least, g0 - 0.5)
        gap = g0 + (least - g0) * smooth(p.since_alert(p.closest))
        gap = gap + (d["after_gap"] - least) * smooth(p.after(p.closest + 0.2, d["settle"]))
    lead.z = s.z + HOOD + gap + lead.length / 2
    away = d["side"] * LANE * smooth(p.after(p.closest + 1.0, 1.8)) * (d["variant"] < 0.4)
    lead.x = 0.15 * np.sin(0.5 * p.t + 9 * d["variant"]) + away
    lead.heading = rate(lead.x, p.t) / 6
    lead.brake = (p.t >= p.alert) & (p.t < p.closest + 0.5)
    if p.label == "collision":
        lead.heading = lead.heading + _knock(p, 0.16 * d["side"])


def _knock(p: _Play, size: float) -> Array:
    """A damped swing of a body that was hit."""
    u = np.maximum(p.t - p.touch, 0)
    return np.asarray(size * np.exp(-2.5 * u) * np.sin(6 * u))


def _stay(s: Scene, p: _Play) -> Array:
    """How far the ego car carries along what it hit, until HOLD is over."""
    at = np.interp([p.touch, p.touch + HOLD], p.t, s.z)
    return np.asarray(np.clip(s.z, at[0], at[1]) - at[0])


def _cut_in(s: Scene, p: _Play, car: Actor) -> None:
    """From the lane beside; `struck`: its flank meets ours, else it is in front and our front meets its rear."""
    d, side = p.d, p.d["side"]
    beside = d["struck"]
    s.role = "struck" if beside else "striking"
    g0 = 1.0 + 2.5 * d["start"] if beside else 3.0 + 2.5 * d["start"]
    least = {"collision": -1.2 if beside else 0.0, "near_collision": -0.8 if beside else d["margin"],
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
        near = wide + (0 if p.label == "collision" else 0.6 + 0.5 * d["place"] ** 2)
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
        car.heading = car.heading + _knock(p, 0.3 * side)
    car.brake = (p.t >= p.alert + 0.3) & (p.t < p.closest)


def _crossing(s: Scene, p: _Play, car: Actor) -> None:
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
        car.heading = car.heading + _knock(p, 0.35 * side)
    car.brake = np.zeros_like(p.t, dtype=bool)
    s.junction = z


def _pedestrian(s: Scene, p: _Play, person: Actor) -> None:
    """From the kerb; runs on across, in normal stops at the lane or comes after us."""
    d, side = p.d, p.d["side"]
    contact = _collision_travel(s, p) + HOOD
    at = s.x[np.searchsorted(p.t, p.moment - 1e-9)] * side
    start, middle = 4.6 + 0.8 * d["start"], at + 0.7 * d["place"]
    if p.label == "normal":
        stop = EGO_WIDTH / 2 + 1.9
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
    person.brake = np.zeros_like(p.t, dtype=bool)


def _collision_travel(s: Scene, p: _Play) -> float:
    """Where the camera is at the touch when the triplet is played as a collision: fixes where the others wait."""
    struck = s.cause == "crossing_vehicle" and p.d["struck"]
    v = _Play(p.t, p.alert, p.touch, p.closest, "collision", p.d).speed(struck=struck)
    z = np.concatenate([[0.0], np.cumsum((v[1:] + v[:-1]) / 2) / s.fps])
    return float(z[np.searchsorted(p.t, p.touch - 1e-9)])


def _colour(r: random.Random, kind: str) -> tuple[int, int, int]:
    if kind == "pedestrian":
        return r.choice([(214, 60, 50), (236, 190, 40), (60, 110, 210), (235, 235, 235), (40, 150, 90)])
    return r.choice([(190, 40, 40), (40, 70, 150), (225, 225, 225), (60, 60, 64), (150, 152, 156), (200, 160, 50)])


def _other(r: random.Random, t: Array, x: Array | float, z: Array, turned: bool = False) -> Actor:
    kind = r.choice(("car", "car", "car", "van", "truck"))
    width, length, height = (s * r.uniform(0.95, 1.05) for s in SIZES[kind])
    zero = np.zeros_like(t)
    return Actor(kind, width, length, height, _colour(r, kind), zero + x, z, zero + (np.pi if turned else 0), zero > 0)


def _traffic(s: Scene, p: _Play, r: random.Random) -> None:
    """Everybody else: oncoming, one who passes after the event and may merge, parked cars, passers-by, scenery."""
    along = s.cause in ("lead_brakes", "cut_in")
    t, side = p.t, p.d["side"]
    for _ in range(r.randint(1, 3)):
        z0, v = r.uniform(40, 130), r.uniform(8, 13)
        if along or z0 < 60:
            s.actors.append(_other(r, t, -LANE * 2.6, z0 - v * t, turned=True))
    start, relative = p.closest + r.uniform(0.1, 1.6), r.uniform(4, 9)
    ahead = -7 + relative * (t - start)
    ahead = np.where(ahead > 10, 10 + (ahead - 10) * 0.6, ahead)
    merges = (0 if along else 1) * (r.random() < 0.7)
    passing = -side * LANE * (1 - merges * smooth((ahead - 5) / 7))
    s.actors.append(_other(r, t, passing, s.z + np.where(t < start, -20, ahead)))
    if r.random() < 0.5:  # one who was there all along, in the other lane
        z0 = r.uniform(9, 25)
        s.actors.append(_other(r, t, -side * LANE, z0 + s.z[0] + p.d["v0"] * r.uniform(0.95, 1.15) * t))
    z, what = -10.0, {"urban": "bbplw", "suburban": "ttpbw", "rural": "tttpg"}[s.drive.road]
    while z < LENGTH_S * 14 + 90:
        z += r.uniform(3.5, 9)
        away = r.choice((-1, 1))
        kind = r.choice(what)
        far = {"b": 15.0, "t": 10.5, "p": 7.0, "l": 7.0, "w": 7.6, "g": 9.0}[kind]
        x = away * (far + r.uniform(0, 3)) + (-4 if away < 0 else 0)
        number = r.random()
        if s.junction is None or abs(z - s.junction) > (9 if kind == "b" else 5):
            s.static.append((z, x, kind, number))


def _shake(s: Scene, p: _Play, r: random.Random) -> None:
    """Camera: road vibration, dive under braking, and two jolts that every class has (impact or pothole)."""
    t, u = p.t, r.uniform(0, 6)
    s.pitch = 0.002 * np.sin(9 * t + u) + 0.0015 * np.sin(17 * t + 2 * u)
    s.roll = 0.004 * np.sin(5 * t + u)
    slowing = -rate(s.speed, t)
    s.pitch = s.pitch - 0.0035 * np.clip(np.convolve(slowing, np.ones(3) / 3)[: len(t)], -4, 9)
    offset = r.uniform(-0.3, 0.3)
    jolts = [r.uniform(0.8, 8.0), p.moment + (0.0 if p.label == "collision" else offset)]
    for when in jolts:
        size, roll, yaw = r.uniform(0.7, 1.4), r.uniform(-1, 1), r.uniform(-1, 1)
        w = np.where(t >= when - 1e-9, np.exp(-3.2 * np.maximum(t - when, 0)), 0)
        swing = np.cos(14 * (t - when))
        s.pitch = s.pitch + 0.045 * size * w * swing
        s.roll = s.roll + 0.05 * roll * w * swing
        s.yaw = s.yaw + 0.04 * yaw * w * swing
