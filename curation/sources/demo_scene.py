"""What happens in a rendered dashcam scene: paths of the ego car and of everybody else, over time, without pixels.

Metres, seconds, radians; x to the right of the ego lane's centre, z along the road; the camera is at the ego car's
(x, z), its front bumper HOOD metres ahead. The draws that set a scene up are shared by its three classes, so these are
equal in every number before the alert (every leg of `move` begins there or later); from the alert on the partner does
the same kind of thing in all, and how much of it, and how the ego car answers, decides:

- collision: the bodies touch, at exactly `event_s` for the first time; the ego car brakes too late.
- near_collision: no touch; hard braking (and often swerving) of the ego car leaves a small gap at `event_s`.
- normal: the same kind of actor keeps clear; the ego car at most slows gently.

What could give the class away without the event is shared as well: one jolt of the camera near the event time
(impact or pothole, same waveform) and another at any time, brake lamps at the alert, the gaps, lanes and speeds that
traffic moves on to afterwards, a vehicle that passes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation.ids import seeded

Array = NDArray[np.float64]
Colour = tuple[float, float, float]
Leg = tuple[float, float, float, float]  # from, until, to, power

CLASSES = ("collision", "near_collision", "normal")
LENGTH_S, FPS = 9.0, 10
T: Array = np.arange(round(LENGTH_S * FPS)) / FPS  # of the frames
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
PAINTS = [(190, 40, 40), (40, 70, 150), (225, 225, 225), (60, 60, 64), (150, 152, 156), (200, 160, 50)]
DRAWS = {  # what the three classes of a scene share, from a to b
    "v0": (9, 13), "v_end": (0.55, 0.95), "gentle": (0.45, 0.85), "margin": (1.4, 2.2),
    "swerve": (0.5, 0.9), "late_swerve": (0.2, 0.4), "drift": (0.15, 0.4), "gap": (0.40, 0.50), "after_gap": (6, 11),
    "settle": (1.0, 1.4), "variant": (0, 1), "start": (0, 1), "place": (-0.7, 0.7),
}  # fmt: skip
CLOTHES = [(214, 60, 50), (236, 190, 40), (60, 110, 210), (235, 235, 235), (40, 150, 90)]


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
    tint: Colour
    hood: Colour
    noise: float  # grey levels


@dataclass(slots=True)
class Actor:
    """A road user: sizes in metres, one position, heading (0: along the road) and lamp state per frame."""

    kind: str
    width: float
    length: float
    height: float
    colour: Colour
    x: Array = field(default_factory=lambda: np.zeros_like(T))
    z: Array = field(default_factory=lambda: np.zeros_like(T))
    heading: Array = field(default_factory=lambda: np.zeros_like(T))
    brake: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(len(T), dtype=bool))


@dataclass(slots=True)
class Scene:
    """One class of one triplet: `speed`, `z`, `x`, `yaw`, `pitch`, `roll` of the ego car per frame, and all actors.

    `alert_s` is the first frame in which the three classes differ; `event_s` is the contact or the closest approach,
    None in normal. `actors[0]` is the partner. `static` holds what stands beside the road: (z, x, what, number).
    """

    triplet: int
    label: str
    cause: str
    drive: Drive
    alert_s: float
    touch: float  # when bodies meet in a collision
    closest: float  # when they are closest in the other classes
    trigger_s: float
    draws: dict[str, float]
    role: str = "striking"
    event_s: float | None = None
    speed: Array = field(init=False)
    z: Array = field(init=False)
    x: Array = field(init=False)
    yaw: Array = field(init=False)
    pitch: Array = field(init=False)
    roll: Array = field(init=False)
    actors: list[Actor] = field(default_factory=list)
    static: list[tuple[float, float, str, float]] = field(default_factory=list)
    junction: float | None = None

    @property
    def hit(self) -> bool:
        return self.label == "collision"

    @property
    def moment(self) -> float:
        """When it happens, or would: the touch in a collision, else the closest approach."""
        return self.touch if self.hit else self.closest

    @property
    def parting(self) -> float:
        """When the bodies begin to move apart."""
        return self.touch + HOLD if self.hit else self.closest + 0.1

    def clearance(self) -> Array:
        """Metres between the ego car's body and the partner's, per frame (boxes, turned by quarter turns only)."""
        p = self.actors[0]
        across = np.abs(np.sin(p.heading)) > 0.7
        half_x = np.where(across, p.length, p.width) / 2
        half_z = np.where(across, p.width, p.length) / 2
        dx = np.abs(p.x - self.x) - half_x - EGO_WIDTH / 2
        dz = np.abs(p.z - (self.z + HOOD - EGO_LENGTH / 2)) - half_z - EGO_LENGTH / 2
        return np.asarray(np.hypot(np.maximum(dx, 0), np.maximum(dz, 0)))


def move(value: float, *legs: Leg) -> Array:
    """A path over T: `value`, then leg by leg on to its `to`. Power 0: a level start and end."""
    path = np.full_like(T, value)
    for begin, end, to, power in legs:
        u = np.clip((T - begin) / (end - begin), 0, 1)
        path += (to - value) * (u**power if power else u * u * (3 - 2 * u))
        value = to
    return path


def rate(x: Array) -> Array:
    """The change per second up to each frame: looks back only, so nothing shows before it begins."""
    return np.asarray(np.diff(x, prepend=x[0]) * FPS)


def at(path: Array, time: float) -> float:
    """The value of a path at a frame's time."""
    return float(path[round(time * FPS)])


def drive_of(seed: int, index: int) -> Drive:
    """The drive number `index`; light, weather and road take turns, so few drives already show all of them."""
    r = seeded("demo drive", seed, index)
    shade = r.uniform(0.92, 1.08)
    light = ("day", "dusk", "day", "night")[index % 4]
    return Drive(
        key=f"drive-{r.getrandbits(32):08x}",
        height=r.uniform(1.2, 1.5),
        focal=r.uniform(0.52, 0.60),
        horizon=r.uniform(0.40, 0.46),
        light=light,
        weather=("clear", "rain", "overcast", "fog", "snow")[(index + index // 4) % 5],
        road=("urban", "suburban", "rural")[(index + index // 2) % 3],
        curve=r.uniform(-0.0012, 0.0012),
        tint=(shade * r.uniform(0.95, 1.05), shade, shade * r.uniform(0.95, 1.05)),
        hood=r.choice([(30, 30, 34), (70, 20, 20), (28, 42, 66), (92, 94, 96), (52, 60, 50)]),
        noise=r.uniform(1.0, 2.5) + (1.0 if light == "night" else 0.0),
    )


def simulate(seed: int, triplet: int, label: str, *, drives: int) -> Scene:
    """The scene of `triplet` played as `label`. Equal arguments give equal numbers; no other triplet matters.

    Causes take turns within a drive and over drives.
    """
    r = seeded("demo triplet", seed, triplet)
    cause = [*CAUSES][(triplet // drives + triplet) % 4]
    alert = round(r.uniform(3.1, 3.6), 1)  # whole frames, so that times are exact
    touch = round(alert + r.uniform(1.2, 1.6), 1)
    closest = round(touch + r.uniform(0.3, 0.5), 1)
    trigger = round(alert + 1.0 + r.uniform(0, 0.6), 2)
    draws: dict[str, float] = {name: r.uniform(low, high) for name, (low, high) in DRAWS.items()}
    draws["side"] = r.choice((-1, 1))
    draws["struck"] = r.random() < (0.25 if cause == "crossing_vehicle" else 0.4)
    draws["swerve"], draws["late_swerve"] = r.choice((0, draws["swerve"])), r.choice((0, draws["late_swerve"]))
    s = Scene(triplet, label, cause, drive_of(seed, triplet % drives), alert, touch, closest, trigger, draws)
    s.speed = _speed(s, label)
    s.z = _travel(s.speed)
    _steer(s)
    partner = _road_user(r, "pedestrian" if cause == "pedestrian" else r.choice(("car", "car", "van")))
    s.actors.append(partner)
    CAUSES[cause](s, partner)
    if s.hit:
        s.event_s = touch
        u = np.maximum(T - touch, 0)  # a damped swing of the body that was hit
        partner.heading = partner.heading + 0.5 * draws["side"] * np.exp(-2.0 * u) * np.sin(4 * u)
    elif label == "near_collision":
        gap = s.clearance()
        s.event_s = float(T[int(np.argmax(gap < gap.min() + 0.1))])
    _traffic(s, r)
    _shake(s, r)
    return s


# --- the ego car ---


def _speed(s: Scene, label: str) -> Array:
    """The ego car's speed per frame, m/s: brakes late, hard or gently, and goes on at one speed in all classes."""
    d, alert = s.draws, s.alert_s
    dt, span, low = s.touch - alert, s.closest - alert, 0.02
    if label == "collision":
        keys = [(alert + 0.45 * dt, 1), (s.touch, 0.6), (s.touch + 0.15, low), (s.touch + 0.9, low)]
    elif label == "near_collision":  # what it travels up to the closest approach: as in the collision, less the margin
        travel = (0.45 + 0.8 * 0.55) * dt / span - d["margin"] / (d["v0"] * span)
        late = float(np.clip((2 * travel - 1 - low) / (1 - low), 0.05, 0.5))
        keys = [(alert + late * span, 1), (s.closest, low), (s.closest + 0.9, low)]
    else:
        low = max(d["gentle"], 1 - 0.95 * GENTLE * span / d["v0"])
        keys = [(alert + 0.1, 1), (s.closest + 0.1, low), (s.closest + 0.5, low)]
    keys = [(0.0, 1), *keys, (s.closest + 0.9 + d["settle"], d["v_end"])]
    times, shares = np.array(keys).T
    return np.asarray(np.interp(T, times, shares) * d["v0"])


def _travel(speed: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2) / FPS])


def _contact(s: Scene) -> float:
    """Where the front bumper is at the touch when the triplet is played as a collision: fixes where others wait."""
    return at(_travel(_speed(s, "collision")), s.touch) + HOOD


def _steer(s: Scene) -> None:
    """The ego car's way across its lane: swerves away from `side` before an event, drifts otherwise."""
    d = s.draws
    size, start = {
        "collision": (d["late_swerve"], s.touch - 0.5),
        "near_collision": (d["swerve"], s.alert_s + 0.5),
        "normal": (d["drift"], s.alert_s),
    }[s.label]
    away = move(0, (start, s.moment, size, 0), (s.moment + 0.2, s.moment + 1.4, 0, 0))
    s.x = -d["side"] * away + 0.12 * np.sin(0.7 * T + 6 * d["variant"])
    s.yaw = rate(s.x) / np.maximum(s.speed, 3) * 0.8


def _shake(s: Scene, r: random.Random) -> None:
    """Camera: road vibration, dive under braking, and two jolts that every class has (impact or pothole)."""
    u = r.uniform(0, 6)
    slowing = np.convolve(-rate(s.speed), np.ones(3) / 3)[: len(T)]
    s.pitch = 0.002 * np.sin(9 * T + u) + 0.0015 * np.sin(17 * T + 2 * u) - 0.0035 * np.clip(slowing, -4, 9)
    s.roll = 0.004 * np.sin(5 * T + u)
    offset = r.uniform(-0.3, 0.3)
    for when in (r.uniform(0.8, 8.0), s.moment + (0.0 if s.hit else offset)):
        size, roll, yaw = r.uniform(0.7, 1.4), r.uniform(-1, 1), r.uniform(-1, 1)
        since = np.maximum(T - when, 0)
        swing = np.where(when - 1e-9 <= T, np.exp(-3.2 * since) * np.cos(14 * since), 0)
        s.pitch = s.pitch + 0.045 * size * swing
        s.roll = s.roll + 0.05 * roll * swing
        s.yaw = s.yaw + 0.04 * yaw * swing


# --- the partner, by cause ---


def _lead(s: Scene, car: Actor) -> None:
    """Ahead in our lane, brakes at the alert: hard in all classes but normal."""
    d = s.draws
    leaves = d["side"] * LANE * (d["variant"] < 0.4)
    car.x = move(0, (s.closest + 1, s.closest + 2.8, leaves, 0)) + 0.15 * np.sin(0.5 * T + 9 * d["variant"])
    first = d["gap"] * d["v0"] * (s.touch - s.alert_s)
    least = {"collision": 0.0, "near_collision": d["margin"], "normal": 5 + 2 * d["start"]}[s.label]
    _ahead(s, car, first, min(least, first - 0.5), s.moment, 1.35)


def _cut_in(s: Scene, car: Actor) -> None:
    """From the lane beside; `struck`: its flank meets ours, else it is in front and our front meets its rear."""
    d, normal = s.draws, s.label == "normal"
    s.role = "struck" if d["struck"] else "striking"
    until = s.alert_s + 0.7 * (s.closest - s.alert_s) if normal else s.moment
    least = {"collision": 0.0, "near_collision": d["margin"], "normal": 4 + 3 * d["start"]}[s.label]
    if d["struck"] and not normal:
        least = -0.8 if s.hit else -0.4
        near = (car.width + EGO_WIDTH) / 2 + (0 if s.hit else 0.9 + 0.6 * d["place"] ** 2)
        wide = near + (0.8 if s.hit else 0)
        legs = (s.alert_s, until, near, 1.5 if s.hit else 0), (s.parting, s.parting + 0.3, wide, 0)
        lateral = move(LANE, *legs, (s.moment + 0.8, s.moment + 2, 0, 0))
        car.x = d["side"] * lateral + s.x * move(0, (s.alert_s, until, 1, 0))
    else:
        end = s.closest + 0.4 if normal else s.alert_s + 0.8 * (until - s.alert_s)
        car.x = d["side"] * move(LANE, (s.alert_s + 0.2 * normal, end, 0, 0))
    _ahead(s, car, (1 if d["struck"] else 3) + 2.5 * d["start"], least, until, 1.6)


def _ahead(s: Scene, car: Actor, first: float, least: float, until: float, power: float) -> None:
    """Along the road: the gap to our bumper closes from `first` to `least`, and opens to one size in all classes."""
    opens = (s.parting, s.parting + s.draws["settle"], s.draws["after_gap"], 0)
    gap = move(first, (s.alert_s, until, least, power if s.hit else 0), opens)
    car.z = s.z + HOOD + gap + car.length / 2
    car.heading = np.clip(rate(car.x) / 7, -0.3, 0.3)
    car.brake = (s.alert_s <= T) & (s.closest + 0.4 > T)


def _crossing(s: Scene, car: Actor) -> None:
    """Out of a side road; `struck`: its front meets our flank, else our front meets its side (nearly, in both)."""
    d, struck = s.draws, bool(s.draws["struck"])
    s.role = "struck" if struck else "striking"
    ours, edge = at(s.x, s.moment) * d["side"], (EGO_WIDTH + car.length) / 2
    middle = ours + 1.2 * d["place"]
    s.junction = _contact(s) + car.width / 2 - (0.3 if struck else 0)
    legs: list[Leg]
    if struck and s.hit:
        legs = [(s.alert_s, s.touch, ours + edge, 1.2), (s.parting, s.parting + 0.5, ours + edge + 1, 0.5)]
    elif s.label == "normal" and (struck or d["variant"] < 0.5):  # it gives way at the edge
        legs = [(s.alert_s, s.closest - 0.3, edge + 2.4, 0)]
    elif s.hit:
        legs = [(s.alert_s, s.touch, middle, 1.25), (s.parting, s.parting + 2, middle - 24, 1.5)]
    else:
        crossed = s.closest if s.label == "near_collision" else s.alert_s + 0.5 * (s.touch - s.alert_s)
        legs = [(s.alert_s, crossed, middle, 1.25), (crossed, crossed + 2, middle - 24, 1.2)]
    car.x = d["side"] * move(8.0 + 1.5 * d["start"], *legs)
    car.z = s.junction + (_carried(s, 1.4) if s.hit and not struck else np.zeros_like(T))
    car.heading = np.full_like(T, -d["side"] * np.pi / 2)


def _pedestrian(s: Scene, person: Actor) -> None:
    """From the kerb; runs on across, in normal stops at the lane or comes after us."""
    d = s.draws
    middle = at(s.x, s.moment) * d["side"] + 0.7 * d["place"]
    legs: list[Leg]
    if s.label == "normal":
        stop = EGO_WIDTH / 2 + 2.1
        walks = stop - 2.2 * (LENGTH_S - s.closest - 0.8) * (d["variant"] < 0.5)
        legs = [(s.alert_s, s.touch - 0.2, stop, 0), (s.closest + 0.8, LENGTH_S, walks, 1)]
    elif s.hit:
        aside = -5 if d["variant"] < 0.5 else 5
        legs = [(s.alert_s, s.touch, middle, 1.1), (s.parting, s.parting + 1.6, middle + aside, 0.5)]
    else:
        legs = [(s.alert_s, s.closest, middle, 1.1), (s.closest, s.closest + 2, middle - 6, 1)]
    person.x = d["side"] * move(4.6 + 0.8 * d["start"], *legs)
    person.z = _contact(s) + person.length / 2 + (_carried(s, 2.0) if s.hit else np.zeros_like(T))


def _carried(s: Scene, thrown: float) -> Array:
    """How far the ego car carries along what it hit until they part, and throws it ahead."""
    with_us = np.clip(s.z, at(s.z, s.touch), at(s.z, s.parting)) - at(s.z, s.touch)
    return np.asarray(with_us + move(0, (s.parting, s.parting + 0.6, thrown, 0.5)))


CAUSES = {"lead_brakes": _lead, "cut_in": _cut_in, "crossing_vehicle": _crossing, "pedestrian": _pedestrian}


# --- everybody else ---


def _road_user(r: random.Random, kind: str) -> Actor:
    width, length, height = (side * r.uniform(0.95, 1.05) for side in SIZES[kind])
    return Actor(kind, width, length, height, r.choice(CLOTHES if kind == "pedestrian" else PAINTS))


def _other(s: Scene, r: random.Random, x: Array, z: Array, heading: float = 0.0) -> None:
    other = _road_user(r, r.choice(("car", "car", "car", "van", "truck")))
    other.x, other.z, other.heading = x, z, np.full_like(T, heading)
    s.actors.append(other)


def _traffic(s: Scene, r: random.Random) -> None:
    """Everybody else: oncoming, one who passes after the event and may merge, passers-by, scenery."""
    along = s.cause in ("lead_brakes", "cut_in")
    beside = -s.draws["side"] * LANE
    for _ in range(r.randint(0, 2)):
        first, speed = r.uniform(40, 130), r.uniform(8, 13)
        if along or first < 60:
            _other(s, r, np.full_like(T, -LANE * 2.6), first - speed * T, np.pi)
    start, faster = s.closest + r.uniform(0.1, 1.6), r.uniform(4, 9)
    ahead = faster * (T - start) - 7
    merges = r.random() < 0.7 and not along
    lane = move(beside, (start + 12 / faster, start + 19 / faster, 0 if merges else beside, 0))
    _other(s, r, lane, s.z + np.where(start > T, -20, np.where(ahead > 10, 4 + ahead * 0.6, ahead)))
    if r.random() < 0.5:  # one who was there all along, in the other lane
        first, speed = r.uniform(9, 25), s.draws["v0"] * r.uniform(0.95, 1.15)
        _other(s, r, np.full_like(T, beside), first + speed * T)
    far = {"house": 15.0, "tree": 10.5, "sign": 7.0, "lamp": 7.0, "walker": 7.6, "bush": 9.0}
    kinds = {
        "urban": ("house", "house", "sign", "lamp", "walker"),
        "suburban": ("tree", "tree", "sign", "house", "walker"),
        "rural": ("tree", "tree", "tree", "sign", "bush"),
    }[s.drive.road]
    z = -10.0
    while z < LENGTH_S * 14 + 90:
        z += r.uniform(3.5, 9)
        away, kind = r.choice((-1, 1)), r.choice(kinds)
        x = away * (far[kind] + r.uniform(0, 3)) + (-4 if away < 0 else 0)
        number = r.random()
        if s.junction is None or abs(z - s.junction) > (9 if kind == "house" else 5):
            s.static.append((z, x, kind, number))
