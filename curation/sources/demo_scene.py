"""What happens in a rendered dashcam scene: paths of the ego car and of everybody else, over time, without pixels.

The draws that set a scene up are shared by its three classes, so these are equal in every number before the alert; at
the alert the partner does the same kind of thing in all, and how much of it, and how the ego car answers, decides:

- collision: the bodies touch, at exactly `event_s` for the first time; the ego car brakes too late.
- near_collision: no touch; hard braking (and often swerving) of the ego car leaves a small gap at `event_s`.
- normal: the same kind of actor keeps clear; the ego car at most slows gently.

What could give the class away without the event is shared as well: one jolt of the camera near the event time
(impact or pothole, same waveform) and another at any time, brake lamps at the alert, the gaps, lanes and speeds that
traffic moves on to afterwards, a vehicle that passes.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from curation.ids import seeded
from curation.sources.demo_causes import CAUSES, LANE, LENGTH_S, SIZES, Actor, Array, Drive, Play, Scene, rate, smooth


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
    return [*CAUSES][(triplet // drives + triplet) % 4]


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
        "struck": r.random() < (0.25 if cause == "crossing_vehicle" else 0.4),
        "margin": r.uniform(1.4, 2.2),
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
    play = Play(t, alert, touch, closest, label, d)
    speed = play.speed(struck=cause == "crossing_vehicle" and bool(d["struck"]))
    scene = Scene(
        triplet, label, cause, "striking", drive_of(seed, triplet % drives), fps, t, alert, event, trigger,
        speed, np.zeros_like(t), np.zeros_like(t), np.zeros_like(t), np.zeros_like(t), np.zeros_like(t),
    )  # fmt: skip
    scene.z[1:] = np.cumsum((speed[1:] + speed[:-1]) / 2) / fps
    _steer(scene, play)
    kind = "pedestrian" if cause == "pedestrian" else r.choice(("car", "car", "van"))
    width, length, height = (s * r.uniform(0.95, 1.05) for s in SIZES[kind])
    length = width if kind == "pedestrian" else length
    still = np.zeros_like(t)
    actor = Actor(kind, width, length, height, _colour(r, kind), still, still, still, still > 0)
    scene.actors.append(actor)
    CAUSES[cause](scene, play, actor)
    if label == "near_collision":
        gap = scene.clearance()
        scene.event_s = float(t[int(np.argmax(gap < gap.min() + 0.1))])
    _traffic(scene, play, r)
    _shake(scene, play, r)
    return scene


def _steer(s: Scene, p: Play) -> None:
    """The ego car's way across its lane: swerves away from `side` before an event, drifts otherwise."""
    d = p.d
    size = {"collision": d["late_swerve"], "near_collision": d["swerve"], "normal": d["drift"]}[p.label]
    start = {"collision": p.touch - 0.5, "near_collision": p.alert + 0.5, "normal": p.alert}[p.label]
    out = smooth((p.t - start) / max(p.moment - start, 0.3)) * (1 - smooth((p.t - p.moment - 0.2) / 1.2))
    s.x = -d["side"] * size * out + 0.12 * np.sin(0.7 * p.t + 6 * d["variant"])
    s.yaw = rate(s.x, p.t) / np.maximum(s.speed, 3) * 0.8


def _colour(r: random.Random, kind: str) -> tuple[int, int, int]:
    if kind == "pedestrian":
        return r.choice([(214, 60, 50), (236, 190, 40), (60, 110, 210), (235, 235, 235), (40, 150, 90)])
    return r.choice([(190, 40, 40), (40, 70, 150), (225, 225, 225), (60, 60, 64), (150, 152, 156), (200, 160, 50)])


def _other(r: random.Random, t: Array, x: Array | float, z: Array, turned: bool = False) -> Actor:
    kind = r.choice(("car", "car", "car", "van", "truck"))
    width, length, height = (s * r.uniform(0.95, 1.05) for s in SIZES[kind])
    zero = np.zeros_like(t)
    return Actor(kind, width, length, height, _colour(r, kind), zero + x, z, zero + (np.pi if turned else 0), zero > 0)


def _traffic(s: Scene, p: Play, r: random.Random) -> None:
    """Everybody else: oncoming, one who passes after the event and may merge, parked cars, passers-by, scenery."""
    along = s.cause in ("lead_brakes", "cut_in")
    t, side = p.t, p.d["side"]
    for _ in range(r.randint(0, 2)):
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


def _shake(s: Scene, p: Play, r: random.Random) -> None:
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
