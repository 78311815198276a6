"""How other people say things: whole families of wordings, of which no rule was made; and words in other senses.

Where a text says what its record denies, there is a finding, if only a warning; where both agree there is no error.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from curation import tasks
from curation.check_options import ENGLISH, includes, like, meaning
from curation.check_reading import read
from curation.check_text import Context, Finding
from curation.check_times import parts, times
from curation.checks import check_record
from curation.lexicon import WORD, lexicon
from curation.types import Clip, Json

PACKS = tasks.load_packs(["event", "caption", "description", "cot"])
LEX = lexicon(PACKS["caption"])
CLASSES = {
    "collision": ("striking", "car"), "near_collision": ("struck", "truck"), "normal": ("none", None)
}  # fmt: skip


def event(cls: str, role: str, partner: str | None, alert: float | None = 2.0, at: float | None = 3.2) -> Json:
    basis = {"collision": "contact", "near_collision": "closest_approach"}.get(cls, "unknown")
    times_ = {"alert_s": None, "event_s": None} if cls == "normal" else {"alert_s": alert, "event_s": at}
    return {"class": cls, "ego_role": role, "partner": partner, "time_basis": basis, **times_}


def check(text: str, known: Json | None, attributes: Json | None = None, field: str = "", **more: Any) -> list[Finding]:
    clip = Clip("source1_x", more.pop("role", "event"), 0, 6, {}, frames=60, fps=10.0, **more)
    value = {"text": text, "clauses": [{"text": text, "field": field or ("event.class" if known else "clip.role")}]}
    assert not tasks.errors(PACKS["caption"], value)
    return check_record(value, Context(PACKS["caption"], clip, known, attributes or {}))


def said(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


CONTACT = """
The ego vehicle tail-ends a taxi.
The dashcam car plows straight into a row of parked scooters.
Our front bumper gets acquainted with a lamp post.
The SUV's nose digs into the ego vehicle's rear door.
Sparks fly as the guardrail scrapes along the side.
The cyclist ends up on the bonnet.
A delivery van reverses onto the hood of the camera car.
The wing mirror is clipped off by a passing bus.
Ego's left headlight shatters against the tow bar.
The car's momentum carries it into the back of the tanker.
The motorbike goes down under the truck.
The pedestrian is swept off her feet by the bumper.
The truck sheds its load onto ego's windscreen.
The gap is gone and metal screeches.
The two cars lock together and spin.
The hatchback is punted across the junction.
It crunches into the bollard at walking pace.
A deer somersaults over the roof.
The ego vehicle comes off the road and meets a tree.
The vehicle in front is rammed from behind.
The taxi's door opens and takes the cyclist out.
The trailer rips open the car's side.
The ego vehicle fails to stop and drives up the back of the van.
There is a hard knock from the rear.
The airbag explodes in the driver's face.
The driver's head jerks as the van strikes home.
The rider hits the deck after touching the car's flank.
Both cars sustain damage.
The bus sideswiped the parked coupe.
The lorry flattens the small hatchback.
The pedestrian bounces off the windscreen.
The cat disappears under the wheels with a thump.
An oncoming estate takes the ego vehicle's wing off.
The ego vehicle cannons off the barrier.
The ego car knocks a cone flying.
The vehicles come to blows.
The car tips a motorcyclist off his machine.
The fox is struck dead.
The ego vehicle slides sideways into the kerb.
Bumper meets bumper.
V1 made forcible contact with V2's rear quarter.
The subject vehicle sustained frontal damage upon striking V2.
The dashcam vehicle gives the auto-rickshaw a solid bump.
Upon turning, the bus swipes the ego vehicle's front corner.
The truck reversed and dashed against the camera car.
An SUV jumps the divider and lands on the ego car's bonnet.
The ego vehicle gets dented on its left side by the passing bus.
The motorcyclist hits the open door and is flung to the asphalt.
The car in the next lane slides over and makes side-to-side contact.
A low-speed parking bump dents the neighbour's bumper.
Suddenly the picture jerks: something has rammed the ego vehicle.
The ego vehicle ends up with its nose in the van's cargo door.
The brakes come on too late and the grille meets the tow bar.
The collision sends the bicycle spinning across the lane.
The dog is run over.
The camera shakes violently as the sedan crashes in from the left.
The pick-up's bull bar gouges the ego car's rear door.
The child is brushed by the mirror and falls.
The kerb rips off the wheel.
The ego vehicle tears through a hedge and hits a wall.
Two bumpers lock.
The oncoming car does not clear the ego vehicle and scrapes it from end to end.
The lorry runs the ego vehicle off the road into a tree.
The ego vehicle mounts the pavement and knocks over a bin.
The taxi kisses the ego vehicle's bumper.
The cyclist flies over the handlebars after hitting the door.
A falling branch smashes the windscreen.
The van rolls back and comes up against the ego vehicle.
The ego car gets whacked from behind.
The horse kicks in the door.
The trailer swings out and wipes off the mirror.
They run into each other at walking pace.
The two drivers swap insurance details over crumpled wings.
The motorcycle's front wheel buries itself in the ego car's flank.
The car spins after being clipped.
The van noses into the ego vehicle's flank and leaves a crease.
The scooter drops and skids under the ego car's bumper.
The ego vehicle goes straight through a barrier.
A tram shears off the ego vehicle's door.
The bus doors open and whack a pedestrian; ego touches him, too.
A goat is bowled over.
The ego vehicle finishes up against the tailgate of the truck.
There's a jolt as the bumpers come together.
The two vehicles exchange a glancing blow.
The car's front folds like paper.
A pedestrian is thrown across the bonnet.
Ego's door is flattened by a passing van.
The impact spins the ego vehicle round.
Ego knocks the mirror off a parked car.
The truck simply drives over the moped.
One of the cars ends on its roof.
The motorcyclist comes off worst and lies in the road.
The ego vehicle trips over a kerb and into a sign.
Both airbags inflate.
Rear lights crack as ego leans on the car in front.
The deer does not make it.
A stone chips the windscreen as the tyre of the truck bursts and lands on ego.
The cyclist smacks into the rear window.
The ego vehicle fails to make the turn and ends in a fence.
They trade a bump.
The SUV barges the ego vehicle aside.
The van collects the ego vehicle's rear corner.
The ego car wipes out on a traffic island.
A trailer comes loose and ploughs into the queue.
The gap closes completely and the cars make contact.
"""
NEAR = """
The driver stands on the brakes and the child skips past an inch from the grille.
A swift lane change is all that stands between the two cars and disaster.
The bus misses the cyclist by next to nothing.
The ego vehicle jinks left and squeezes past the stalled car.
It ends well: the cars stop nose to nose.
The motorcyclist escapes by a whisker.
Hard braking brings the car to a halt right behind the van.
The pedestrian leaps back onto the kerb.
The truck thunders past with only a hair's breadth between.
It was touch and go.
The ego driver yanks the wheel over and slips by.
The two come within a finger's breadth of each other.
A brush with a lorry, nothing worse.
The driver just manages to stop.
There is just enough room to get by.
A timely swerve saves the day.
The car pulls up a foot short of the cyclist.
The ego vehicle comes perilously close to the bus.
The biker has a lucky escape.
The driver reacts in time and the collision never comes.
Only quick reflexes prevent the worst.
The vehicles stop nose to tail without touching.
The car swerves violently to dodge the dog.
That was close.
The van cuts in and ego has to take to the hard shoulder.
They part without a scratch.
The ego vehicle barely clears the truck's tail.
The cars avoid one another at the last gasp.
The tram bell rings and the car backs off just in time.
The ego vehicle swerves right, avoiding the stopped car by a narrow margin.
The pedestrian is spared thanks to hard braking.
V1 took evasive action and no contact was made.
An abrupt stop leaves just a few inches between the bumpers.
The driver reacts promptly and manages to avoid the dog.
The cyclist passes unharmed although the car comes to within a foot.
The vehicles avoid touching by the slimmest margin.
A hard swerve prevents what would have been a head-on crash.
The ego car stops literally inches from the crossing child.
The truck overshoots but misses.
The ego driver must stamp on the pedal to keep from hitting the van.
Tyres screech; the gap holds.
There was almost an accident with a bus.
They scrape past each other with nothing to spare.
The van forces the ego vehicle onto the shoulder, yet nothing is hit.
Everyone gets away with a fright.
The child is pulled back in time by her mother.
The evasive steering works and both vehicles remain intact.
It comes down to centimetres, but the cars do not meet.
It is nearly over for the squirrel, but it makes it across.
The gap shrinks to a hand's width before it opens again.
Luckily the car behind stops as well.
Reflexes save the day.
The ego driver flings the wheel left and scrapes through.
It is only thanks to the brakes that the child is still standing.
The bus stops with its nose over the line; ego skirts around it at the last moment.
No one is hit, but it takes full brakes.
The ego vehicle threads between the two lorries by the width of a hand.
Emergency braking brings the ego vehicle to rest short of the deer.
The cyclist swerves, the ego vehicle swerves, and both go on.
The rear of the van comes up fast, but the ego vehicle makes it into the next lane.
The vehicles miss.
The man jumps for his life and is untouched.
The motorcycle squirms through a closing gap unscathed.
With squealing tyres the ego vehicle pulls up before the crossing.
They come within a cat's whisker of one another.
Evasive action on both sides keeps the paint intact.
The distance falls to almost nothing before it grows again.
It could easily have ended in a crash.
A sharp tug on the wheel, and the danger is past.
The bumper stops shy of the pram.
The ego vehicle has a narrow squeak with a bus.
Braking at the limit, the driver saves it.
Disaster is dodged.
The lorry drifts, ego hoots and dives onto the hard shoulder.
They pass so closely that the mirrors nearly kiss.
The dog gets lucky.
"""
NORMAL = """
Nothing of interest occurs.
A perfectly boring commute.
Everything goes according to plan.
The trip passes off peacefully.
All road users behave as they should.
Traffic rolls along without a hiccup.
No one comes close to anyone.
The drive is as dull as ditchwater.
The clip is devoid of any incident.
Just another day on the road.
Nothing whatsoever happens.
Everyone minds their own business.
The ego vehicle cruises along undisturbed.
A quiet drive with no surprises.
There is nothing to see here.
No manoeuvre beyond ordinary lane keeping is needed.
The journey proceeds smoothly.
An unremarkable half minute of traffic.
The scene remains peaceful throughout.
Everyone keeps their distance and nobody brakes in anger.
All is calm.
It is a perfectly safe passage.
No braking or steering beyond the usual is required.
Nobody is put at risk.
Traffic moves along as it always does.
The whole clip is free of drama.
The trip is without any particular event.
A standard drive with compliant road users.
The vehicle proceeds normally.
The ride is calm from beginning to end.
No hazards, no surprises, no rush.
The footage shows regular city driving.
There is no interaction with other road users.
Nothing notable takes place throughout.
The ego vehicle maintains a safe following distance at all times.
Nobody has to brake for anybody.
The seconds tick by without anything going wrong.
Everything is in order.
The drive continues safely.
The commute is as routine as can be.
All participants keep to the rules and the flow is smooth.
No conflict arises at any point.
The passage is entirely unproblematic.
A calm Sunday drive.
The road is followed without anything to remark.
This is commonplace driving.
Cars come and go; none of them matters.
Nothing gets in the way.
The car glides along unchallenged.
There's not much to say: a car follows a road.
The drive remains free from complications.
Everybody gives everybody room.
It is an entirely mundane sequence.
A peaceful cruise past shops.
The lights turn green and all move off in good order.
No other road user comes near.
An unexciting minute of traffic.
All quiet on this road.
The whole thing is a non-event.
The vehicle coasts down the street, nobody about.
Speed and distance are steady throughout.
The ego vehicle parks without difficulty.
All vehicles hold their lanes.
Nobody does anything out of line.
"""


@pytest.mark.parametrize("text", said(CONTACT))
def test_contact_is_read_in_many_words(text: str) -> None:
    for cls in ("near_collision", "normal"):
        assert "told_class" in {f.rule for f in check(text, event(cls, *CLASSES[cls]))}
    told = check(text, event("collision", "unknown", None))
    assert not {f.rule for f in told} & {"told_class", "class_untold"}


@pytest.mark.parametrize("text", said(NEAR))
def test_a_near_miss_is_no_collision(text: str) -> None:
    assert {f.rule for f in check(text, event("collision", "unknown", None))} & {"told_class", "class_untold"}
    assert not [f for f in check(text, event("near_collision", "unknown", None)) if f.severity == "error"]


@pytest.mark.parametrize("text", said(NORMAL))
def test_a_calm_drive_is_neither(text: str) -> None:
    for cls in ("collision", "near_collision"):
        assert {f.rule for f in check(text, event(cls, *CLASSES[cls]))} & {"told_class", "class_untold"}
    assert not [f for f in check(text, event("normal", "none", None)) if f.severity == "error"]


VALUES = """
weather rain: It is chucking it down. Heavy rain hammers on the roof.
weather rain: The tarmac is slick and drops race down the windscreen. Rainwater streams along the gutter.
weather rain: A wet evening, rain coming down in sheets. A light drizzle hangs in the air.
weather rain: The wipers struggle against the deluge. Spots of rain dot the glass. Showery weather.
weather rain: It's tipping it down.
weather snow: Snow is coming down thickly. Everything is white and more is falling.
weather snow: A flurry of flakes crosses the beam. Winter: snow on the road and in the air.
weather snow: The road is snowed under. A snowstorm rages. Fresh snow coats the lane.
weather fog: Visibility is down to a car length in the mist. A grey murk hides everything.
weather fog: The road vanishes into a white wall. Dense fog blankets the valley. Haze veils the horizon.
weather fog: The world ends in milky white after a few cars.
weather clear: The sun beats down. A sunny spell. Bright sunshine floods the road. There isn't a cloud in the sky.
weather clear: A glorious, sunlit afternoon. Under clear skies. The weather is fine. Sun glints on the bonnet.
weather clear: Azure sky overhead.
weather overcast: The sky is a lid of grey. A dull, cloudy day. Grey light, no sun. Clouds cover the sky.
weather overcast: Under a leaden sky. Thick cloud hangs low. The heavens are grey. A gloomy, sunless afternoon.
light night: It is the middle of the night. Street lighting casts orange pools. Headlamps are the only light.
light night: It's dark out. The sky is black. Long after sundown. Late at night. Under the stars. Night driving.
light night: In the dead of night. The clock says 2 am.
light day: It is broad day. Shot at noon. In full daylight. The midday sun. A daytime scene.
light day: It's the middle of the afternoon. The sun stands high.
light dusk: The light is fading. The sun goes down. At nightfall. Day turns into evening. The last light of day.
light dusk: Sundown. As daylight fades. The sun is about to set.
light dawn: The sun is just rising. Daybreak. In the first light of morning. The new day dawns. At sun-up.
light dawn: The sky pales in the east.
road highway: A six-lane motorway. The interstate is busy. On the fast lane of the autobahn.
road highway: Cruising along the freeway. A toll road. The M25.
road rural: Open countryside. A farm track. A lane between cornfields. Fields stretch on both sides.
road rural: A remote country route. A forest road.
road urban: In the heart of the city. A metropolitan street with tall buildings. Downtown traffic. City centre.
road urban: Office blocks line the road.
road residential: A quiet street of family homes. A housing estate. Between front gardens. A cul-de-sac.
road residential: Rows of terraced houses.
road tunnel: Inside a tunnel. Under the ceiling lamps of a tunnel. The underpass. A tube under the river.
road parking_lot: A supermarket car park. A multi-storey garage. Between rows of parked cars in a parking garage.
road parking_lot: The parking deck. On the lot of a shopping mall.
scene roundabout: Going round the roundabout. The traffic circle. Circling the central island.
scene curve: A tight bend. A hairpin. The road curves to the left. In a left-hand curve. A winding road.
scene intersection: At a four-way stop. A crossroads. The junction. A T-intersection.
scene bridge: On a bridge. A viaduct. Crossing a river. The overpass.
scene merge: A slip road. On the on-ramp. The acceleration lane.
scene crosswalk: A zebra crossing. The crosswalk.
scene straight: A dead straight road. The road runs dead straight.
partner car: A silver saloon. A cab. A black limousine. An estate car. A sports car. A police cruiser.
partner van: A white van. A panel van. A delivery van.
partner truck: An articulated lorry. A big rig. A refuse truck. A dumper. A heavy goods vehicle. A dump truck.
partner truck: A tractor-trailer.
partner bus: A double-decker. A coach. A school bus.
partner motorcycle: A motorbike. A biker. A moped rider. A scooter. A motorcyclist.
partner bicycle: A cyclist. A boy on a bike. A racing bike. A push-bike.
partner pedestrian: A jogger. A woman with a pram. A schoolboy. Someone on foot. A pedestrian.
partner animal: A deer. A stray dog. A wild boar. A cow. A horse. A hedgehog.
partner object: A lamp post. A concrete wall. A tree. A traffic cone. A bollard. A guardrail. A wheelie bin.
"""


@pytest.mark.parametrize("row", said(VALUES))
def test_values_are_read_in_many_words(row: str) -> None:
    head, texts = row.split(":", 1)
    name, value = head.split()
    for text in re.split(r"(?<=\.) (?=[A-Z])", texts.strip()):
        marks = read(LEX, text).values
        assert any(yes and value in v for m, yes in marks for n, v in m.names if n == name), text


# The words stand in another sense, or what they say is over, or of others.
CLEAN: list[tuple[tuple[str, str, str | None], Json, str]] = [
    (('normal', 'none', None), {'weather': 'clear', 'light': 'day', 'road': 'urban', 'scene': 'intersection'}, """
A sunny day in town. The ego vehicle waits behind a bus at the lights and sets off with it.
A cyclist passes on the cycle lane, a pedestrian waits on the kerb; nobody crosses. Daylight.
The car in front brakes for the signal; ego does the same in good time. Bright day.
A tow truck carries away a crashed car while a policeman waves traffic past; an ordinary drive.
Nothing comes of it: the drive ends without a collision, near-collision or sudden evasive action.
Unable to turn in the sunshine of a clear day, the driver waits for others to pass.
An ad for crash helmets hangs above the junction. Normal city driving.
The sun is reflected in shop windows; a woman pushes a pram along the pavement.
A road worker hammers at the kerb; the impact of the hammer raises dust. Nothing happens in traffic.
The ego vehicle turns right behind a taxi, and both keep their distance.
Pigeons scatter as the car rolls past, and that is the most exciting thing in the clip.
The traffic lights change and everyone gets going.
"""),
    (('normal', 'none', None), {'weather': 'rain', 'light': 'night', 'road': 'highway'}, """
Rain and spray on a motorway by night; the trip is unexciting.
Night. The wipers beat. Trucks are overtaken with plenty of room.
The rain eases off a little but never stops; tail lights shimmer on the asphalt.
No crash, no near miss: merely a wet drive in the dark.
At night, under steady rain, the ego vehicle stays behind a coach.
"""),
    (('normal', 'none', None), {'weather': 'overcast', 'light': 'day', 'road': 'rural', 'scene': 'curve'}, """
Cloudy. A tractor is overtaken on a country road, well before the bend.
It looks like rain, but none falls. Fields, hedges, a bend.
A dull afternoon between meadows. The ego vehicle slows for sheep beside the road and passes them.
A roadside cross recalls a fatal accident; today nothing occurs.
The sun does not come out. The bend is taken at ease.
"""),
    (('normal', 'none', None), {'weather': 'clear', 'light': 'dusk', 'road': 'suburban'}, """
Evening: the sun is low, the shadows are long, the street is quiet.
Dusk in the suburbs. Street lamps come on one by one. A normal trip.
At sunset a boy kicks a ball against a garage; it never reaches the road.
The day is nearly over. Cars roll home without hurry.
"""),
    (('normal', 'none', None), {'weather': 'snow', 'light': 'day', 'road': 'residential'}, """
Snow falls softly on parked cars. The ego vehicle creeps along.
A snowplough has cleared the lane; fresh flakes come down. Daylight, quiet.
Children build a snowman behind a fence. Nobody is on the road.
"""),
    (('normal', 'none', None), {'weather': 'fog', 'light': 'dawn', 'road': 'highway'}, """
Dawn. The fog is thick, the speed low, the spacing wide.
Before sunrise, in fog, the ego vehicle follows tail lights at an even distance.
"""),
    (('normal', 'none', None), {'weather': 'clear', 'light': 'night', 'road': 'tunnel'}, """
A lit tunnel at night; the ceiling lamps pass rhythmically. No event.
The ego vehicle leaves a bridge and dives into the tunnel; nothing else.
"""),
    (('normal', 'none', None), {'weather': 'clear', 'light': 'day', 'road': 'parking_lot'}, """
The ego vehicle looks for a space in a car park and finds one. A shopping trolley stands by a wall.
A woman loads her boot; the ego vehicle waits until she is done, then parks.
"""),
    (('collision', 'striking', 'car'), {'weather': 'clear', 'light': 'day', 'road': 'urban'}, """
By day in town, the ego vehicle fails to brake for a stopped saloon and shunts it at 3.2 s.
At 3.2 s the ego vehicle's front end runs up against the tail of a hatchback, pushing it forward a little.
A bus pulls away, the car behind it stops, and the ego vehicle bumps into that car. Nobody is hurt.
The ego driver swerves for a pedestrian and, in doing so, sideswipes a parked car.
It is a light knock: the ego vehicle nudges the taxi ahead at about 3 s.
Sunny street. A red hatchback stops for a cat; ego does not stop. Bonnet against boot.
The ego vehicle tries to stop but cannot, and the two cars touch.
"""),
    (('collision', 'struck', 'truck'), {'weather': 'rain', 'light': 'night', 'road': 'highway'}, """
A lorry changes lanes without looking and crushes the ego vehicle's wing at 3.2 s. Rain, night.
From behind, a tanker fails to slow and slams into the ego vehicle.
The ego vehicle is squeezed against the barrier by an articulated lorry.
Rainy night on the motorway: the trailer of a truck swings round and hits the ego vehicle.
An HGV shoves the ego car sideways. The impact is at 3.2 s.
"""),
    (('collision', 'striking', 'pedestrian'), {'weather': 'overcast', 'light': 'dusk', 'road': 'residential'}, """
A man steps out from behind a van at dusk and is knocked down by the ego vehicle at 3.2 s.
The ego vehicle hits a woman who crosses with her dog. The dog runs off.
A child on foot darts out; the ego vehicle cannot stop and the bumper catches the child.
"""),
    (('collision', 'striking', 'animal'), {'weather': 'clear', 'light': 'night', 'road': 'rural'}, """
A deer leaps from the hedge and is hit by the ego vehicle; the headlights show nothing else.
At 3.2 s, on a dark country road, ego strikes a fox.
"""),
    (('collision', 'witness', 'car'), {'weather': 'clear', 'light': 'day', 'road': 'highway'}, """
Ahead, a car clips the central barrier and spins; the ego vehicle brakes and stays clear.
Two cars in front tangle at 3.2 s. The ego vehicle is not involved and passes on the left.
"""),
    (('collision', 'striking', 'object'), {'weather': 'snow', 'light': 'day', 'road': 'suburban'}, """
On snow the ego vehicle slides into a lamp post at 3.2 s.
The ego vehicle skids past a parked car and ends up against a garden wall.
Wheels locked, the ego vehicle hits a bollard.
"""),
    (('near_collision', 'struck', 'van'), {'weather': 'clear', 'light': 'day', 'road': 'urban'}, """
A van pulls out in front of the ego vehicle, which has to brake hard; they do not touch.
A delivery van reverses out of a drive and stops a hand's breadth from the ego vehicle's door.
The van runs the red light; only a swerve by the ego driver averts a crash at 3.2 s.
It is close: the van's mirror all but brushes the ego vehicle. No damage.
A van cuts across. Brakes squeal, nobody is hit.
"""),
    (('near_collision', 'striking', 'bicycle'), {'weather': 'rain', 'light': 'dusk', 'road': 'urban'}, """
A cyclist wobbles into the lane; the ego vehicle swerves and passes with centimetres to spare.
In the rain at dusk the ego vehicle comes up fast behind a cyclist, brakes, and stops just short of the rear wheel.
The ego driver opens the door and pulls it shut again as a bike shoots by, unharmed.
A boy on a bike crosses on red. Ego brakes. Another metre and he would have been hit.
"""),
    (('near_collision', 'striking', 'animal'), {'weather': 'fog', 'light': 'dawn', 'road': 'rural'}, """
A stag stands in the fog; ego brakes to a halt in front of it, and it trots off unhurt.
At daybreak a dog crosses; the driver dodges it.
"""),
    (('near_collision', 'witness', 'pedestrian'), {'weather': 'clear', 'light': 'day', 'road': 'urban'}, """
A taxi ahead brakes sharply for a pedestrian who jumps back; the ego vehicle, further behind, merely watches.
"""),
    (('near_collision', 'striking', 'animal'), {'weather': 'clear', 'light': 'dusk', 'road': 'rural'}, """
A country road at dusk; no other vehicles are in sight. The ego vehicle brakes for a boar and misses it by inches.
Night approaches; the road lies bright at dusk, and nobody is hit, though others brake hard for a boar.
A boar trots onto the road; only hard braking prevents a collision with it.
A quick swerve to the left keeps it from contact with the boar.
"""),
]  # fmt: skip


@pytest.mark.parametrize("who,attributes,texts", CLEAN)
def test_clean_texts_have_no_error(who: tuple[str, str, str | None], attributes: Json, texts: str) -> None:
    found = [(t, f) for t in said(texts) for f in check(t.strip(), event(*who), attributes) if f.severity == "error"]
    assert not found


TIMES = [  # what is said, and the seconds of a clip of six
    ("Three and a half seconds in, they touch.", 3.5, 3.5), ("a second into the clip", 1, 1),
    ("at the two-second mark", 2, 2),
    ("half a second in", 0.5, 0.5), ("after four calm seconds", 4, 4), ("at 0:03 it stops", 3, 3), ("second 5", 5, 5),
    ("between 1 s and 2 s", 1, 2), ("in the last second", 5, 6), ("in the first two seconds", 0, 2),
    ("halfway through the clip", 2.4, 3.6), ("at the very end of the video", 4.8, 6), ("as the clip begins", 0, 1.2),
    ("in the final third of the clip", 4, 6), ("one and a quarter seconds in", 1.25, 1.25), ("t = 2.5", 2.5, 2.5),
    ("three quarters of the way through", 3.9, 5.1), ("twelve seconds in", 12, 12),
    ("3 to 4.5 s after the clip begins", 3, 4.5), ("5 s after this video starts", 5, 5),
    ("shortly after the beginning of the clip", 0, 1.2),
    ("3.5 s after the clip begins", 3.5, 3.5), ("two seconds from the start of the video", 2, 2),
]  # fmt: skip


@pytest.mark.parametrize("text,low,high", TIMES)
def test_times_in_words_and_parts_of_the_clip(text: str, low: float, high: float) -> None:
    (told,) = times(text) + parts(text, WORD.findall(text.lower()))
    assert told.within(6.0) == pytest.approx((low, high), abs=0.01)


@pytest.mark.parametrize("text", ["for three seconds", "two seconds later", "a second car", "at 1:27 pm", "in his 40s",
                                  "within a second", "the last car", "for 2 s after the clip begins",
                                  "first, the van"])  # fmt: skip
def test_what_is_no_point_in_time(text: str) -> None:
    assert times(text) + parts(text, WORD.findall(text.lower())) == ()


@pytest.mark.parametrize("text,rule", [
    ("The bumpers meet in the last second of the clip.", "told_time"),
    ("Half a second in, the ego vehicle rams the car.", "told_time"),
    ("The car is hit as the clip begins.", "told_time"),
    ("From 4 s to 2 s the ego vehicle follows a car, which it hits.", "time_reversed"),
    ("The car is hit at 0:31.", "time_outside"),
])  # fmt: skip
def test_times_of_texts_are_held_against_the_event(text: str, rule: str) -> None:
    assert rule in {f.rule for f in check(text, event("collision", "striking", "car"))}


def test_a_cited_time_is_the_events() -> None:
    hit = event("collision", "striking", "car")
    assert "told_time" in {f.rule for f in check("just a second into the clip", hit, field="event.event_s")}
    assert not check("The ego vehicle hits the car a little over three seconds in.", hit, field="event.event_s")


@pytest.mark.parametrize("role,text", [
    ("struck", "The ego vehicle reverses into a car."),
    ("struck", "With ego as the striking party they collide: a car."),
    ("striking", "Ego T-boned by a sedan."), ("striking", "The ego vehicle is the one that is run into by a car."),
    ("striking", "The ego vehicle has nothing to do with the crash of the car."),
    ("witness", "The ego vehicle rams the car."),
])  # fmt: skip
def test_another_role_is_found(role: str, text: str) -> None:
    assert "told_role" in {f.rule for f in check(text, event("collision", role, "car"))}


STRIKING, STRUCK = (
    """
The ego vehicle runs into the back of a car.
We hit a parked car, and our car slides into its boot.
A sedan is rammed by the dashcam car.
A car is struck from behind by the ego vehicle.
The camera vehicle fails to brake and collides with the car in front.
I crash into the car in front of me.
It is the ego vehicle that drives into the car.
A hatchback gets hit by the ego car.
The ego driver follows a car and bumps into it.
""",
    """
A car runs into the back of the ego vehicle.
We are hit by a taxi, and a sedan rams us.
A car slides into ours.
The camera car gets T-boned by a car.
A car fails to yield and crashes into ego's door.
The driver of a car does not see the ego vehicle and drives into it.
The ego vehicle, standing at the lights, is bumped by a car.
While our vehicle waits, a car comes from behind and hits it.
A reversing car backs into the ego vehicle.
""",
)


def test_roles_are_read_off_who_does_what() -> None:
    for role, texts, other in (("striking", STRIKING, "struck"), ("struck", STRUCK, "striking")):
        missed = 0
        for text in said(texts):
            assert "told_role" not in {f.rule for f in check(text, event("collision", role, "car"))}, text
            missed += "told_role" not in {f.rule for f in check(text, event("collision", other, "car"))}
        assert missed <= 2  # in doubt nothing is said


FALLEN = """
Snow is piled along the sidewalk.
Patches of snow remain beside the road.
Past a snow-covered verge it goes.
The rain has stopped.
Fog has lifted.
It has stopped snowing.
A snow-free road.
No rain, no fog, no snow.
Puddles are left over from the morning's rain.
It looks like rain, but none falls.
Precipitation nil.
After the heavy snowfall the sun is out.
The road surface is slippery with accumulated snow and ice.
"""


@pytest.mark.parametrize("text", said(FALLEN))
def test_what_fell_is_no_weather(text: str) -> None:
    assert not [f for f in check(text, event("normal", "none", None), {"weather": "clear"}) if f.severity == "error"]


@pytest.mark.parametrize("role,text", [
    ("struck", "It strikes the front wing of the ego vehicle, that car."), ("struck", "Ego rear-ended by car."),
    ("struck", "A collision with a car, ego as the struck party."),
    ("striking", "The car springs into the ego vehicle's path and is struck."),
    ("striking", "The ego vehicle hits a car; an ambulance passes and is not involved."),
])  # fmt: skip
def test_the_right_role_is_left_alone(role: str, text: str) -> None:
    assert not {f.rule for f in check(text, event("collision", role, "car"))} & {"told_role", "told_partner"}


def test_a_partner_nobody_names_is_warned_of() -> None:
    hit = event("collision", "striking", "truck")
    found = check("A cyclist crosses. At 3.2 s there is a collision.", hit)
    assert ("told_partner", "warning") in {(f.rule, f.severity) for f in found}
    assert not check("A vehicle stops, a cyclist crosses. At 3.2 s there is a collision.", hit)


def test_what_others_say_is_no_claim() -> None:
    quiet = event("normal", "none", None)
    assert not check("A sign says 'ACCIDENT AHEAD'; the ego vehicle drives on as usual.", quiet)
    assert check("The verdict is 'collision'.", quiet)


def test_a_text_may_cite_what_it_says_is_not_known() -> None:
    open_ = event("collision", "unknown", None)
    assert not check("Ego is hit; by whom cannot be seen.", open_, field="event.partner")
    assert check("Ego is hit by a car.", open_, field="event.partner")
    assert not check("A car slows.", None, field="clip.visible", role="pre_event", visible=True, horizon_s=1.0)


def test_what_is_cited_but_unknown_is_an_error_only_if_something_is_said_of_it() -> None:
    open_ = event("collision", "unknown", None)
    for text in ("The other party is not on record.", "The record names nobody else."):
        unnamed = check(text, open_, field="event.partner")
        assert [f.severity for f in unnamed if f.rule == "citation"] == ["warning"], text
    named = check("A bus is the other party.", open_, field="event.partner")
    assert {f.severity for f in named if f.rule == "citation"} == {"error"}
    for field in ("attributes.speed", "event.severity", "clip.colour"):
        invented = check("It drives on.", open_, field=field)
        assert {f.severity for f in invented if f.rule == "citation"} == {"error"}, field


WEIGHED = """
Nothing touches. Close, yes; a crash, no. A near-collision.
They did not come to contact, which rules out a collision: a near miss.
A near rear-end crash at 3.2 s.
A sudden stop leads to a near head-on collision.
An oncoming car slides into the ego vehicle's half of the road and just misses it.
"""


@pytest.mark.parametrize("text", WEIGHED.strip().split("\n"))
def test_what_a_text_rules_out_is_no_claim(text: str) -> None:
    close = event("near_collision", "striking", "car")
    assert not [f for f in check(text, close) if f.severity == "error"]


@pytest.mark.parametrize("text", [
    "The ego vehicle's corner scrapes along a car at 3.2 s.", "The ego vehicle brushes a car at 3.2 s.",
    "The camera is thrown forward and the ego vehicle shunted towards the car ahead at 3.2 s.",
])  # fmt: skip
def test_who_of_two_that_touch_is_only_warned_of(text: str) -> None:
    struck = event("collision", "struck", "car")
    assert not [f for f in check(text, struck) if f.severity == "error"]
    assert [f for f in check("The ego vehicle rams a car at 3.2 s.", struck) if f.severity == "error"]


def test_a_colour_that_is_made_of_weather_is_none() -> None:
    hit = event("collision", "striking", "car")
    clear = {"weather": "clear", "light": "day", "road": "rural"}
    for text, severity in (
        ("Misty-blue hills; ego hits a car.", "warning"),
        ("A misty lane; ego hits a car.", "error"),
    ):
        found = check(text, hit, clear)
        assert {f.severity for f in found if f.rule == "told_attribute"} == {severity}, text


HAZARDS = """
A van noses out of a side street.
A taxi jumps the lights.
A boy is about to run out.
The gap to the bus dwindles.
A motorcyclist lane-splits much too close.
The truck ahead jams on its brakes.
An oncoming car crosses the centre line.
A pedestrian looks set to step off the kerb.
The bus indicates and begins to pull into the ego lane.
Brake lights blaze ahead and the gap is vanishing.
A child runs after a ball towards the street.
The car on the left swerves towards us.
The cyclist does not look back before moving over.
A dog bolts from the verge.
The van is going to turn across ego's path.
The car in front fishtails on the ice.
Trouble is brewing at the junction.
A collision looks likely.
The lorry's load is coming loose.
The driver ahead drives erratically.
Something tumbles from the trailer onto the lane.
The gap to the car ahead halves within a second.
A car creeps out of a blind exit.
The taxi makes a U-turn in front of us.
"""
OUTCOMES = """
In the end the car is rammed.
A crash follows.
Seconds later they collide.
The ego vehicle narrowly escapes.
This is the run-up to a fatal smash.
It all ends well: nobody is hit.
The clip stops right before the impact.
What comes next is a rear-end collision.
The bus is going to hit the ego vehicle.
It will come to a crash.
The near miss comes moments after the clip ends.
Metal crunches right afterwards.
The pedestrian gets knocked down after the last frame.
The ego driver will avoid the van by inches.
"""
AHEAD = """
The ego vehicle follows a lorry at a steady distance.
Traffic is light and the lane ahead is free.
A pedestrian waits at the kerb.
A cyclist rides on the cycle path.
The car in front keeps its speed.
The lights are green.
A bus stands at its stop.
The road bends to the left.
Wipers are off, and the sky is blue.
Vehicles are parked on both sides.
An oncoming van passes on its own side.
The ego vehicle slows for a speed bump.
Up to the last frame nothing is out of place.
A crash barrier runs along the road.
A motorbike overtakes with room to spare.
No conflict can be seen up to the end.
"""
OTHERS = """
A cyclist is struck by the ego vehicle.
The ego vehicle runs over a fox.
Ego knocks a pedestrian down.
The ego vehicle strikes a lamp post.
A bus rams the ego vehicle from behind.
At 3.2 s the ego vehicle meets a tractor-trailer head-on.
A moped and the ego vehicle collide.
The other party is a delivery van.
A tram hits the ego vehicle.
A jogger is thrown onto the bonnet.
The ego vehicle ploughs into a fence.
It is a horse that the ego vehicle hits.
A boy on a scooter is hit.
The ego vehicle swipes a coach.
A wheelie bin is knocked over by ego.
"""


@pytest.mark.parametrize("text", said(HAZARDS))
def test_no_hazard_is_told_before_it_shows(text: str) -> None:
    assert check(text, None, role="pre_event", visible=False)


@pytest.mark.parametrize("text", said(OUTCOMES))
def test_no_outcome_is_told_before_it(text: str) -> None:
    assert "outcome" in {f.rule for f in check(text, None, role="pre_event", visible=True)}


@pytest.mark.parametrize("text", said(AHEAD))
def test_what_is_seen_before_the_event_may_be_told(text: str) -> None:
    assert not check(text, None, role="pre_event", visible=False)


@pytest.mark.parametrize("text", said(OTHERS))
def test_another_partner_is_found(text: str) -> None:
    assert "told_partner" in {f.rule for f in check(text, event("collision", "unknown", "car"))}


# -- options: what says the same, what includes another, what only looks alike ----------------------------------------
VQA = tasks.load_packs(["event", "caption", "description", "vqa"])["vqa"]
SAME = """
The ego comes to a halt | The ego stops
slams on the brakes | brakes hard
The cyclist is knocked over by the van | The van knocks over the cyclist
a layer of snow covers the road | The road is covered with snow
a collision between the two cars | The two cars collide
It is still rolling | It has not stopped
a lorry | a truck
the light is amber | the light is yellow
drizzle | light rain
in the middle of the day | around noon
a toddler | a small child
a zebra crossing | a pedestrian crossing with stripes
switches lanes to the right | moves into the right lane
lets the pedestrian cross first | waits for the pedestrian to cross
It tailgates the car in front | It follows the car ahead too closely
runs a red light | drives through a red light
a pair of pedestrians | two pedestrians
more than two | at least three
fewer than 2 | at most one
because the driver was distracted | due to driver distraction
looks at his mobile | looks at his cell phone
The van is behind the ego | The ego is ahead of the van
The bus is to the left of the car | The car is to the right of the bus
an auto-rickshaw | a tuk-tuk
The ego and a lorry | A lorry and the ego
It rear-ends the car | It runs into the back of the car
a man wearing a red coat | a man in a red coat
The traffic is heavy | There is a lot of traffic
It is impossible to say | It cannot be determined
"""
INCLUDED = """
turns | turns left
an animal | a deer
at least two | three
no more than four | two
before halfway | in the first second
It reacts | It brakes
evasive action | It swerves right
It changes speed | It accelerates
an emergency vehicle | an ambulance
a large vehicle | a lorry
The vehicle hits an animal | The car hits a deer
a traffic sign | a stop sign
A crash | A rear-end collision
The driver is inattentive | The driver is looking at his phone
The driver makes an error | The driver runs a red light
a mechanical failure | a burst tyre
headwear | a helmet
The light is not green | The light is red
someone is hurt | the cyclist breaks an arm
It violates a traffic rule | It runs a stop sign
a car | a red car
a group of people | a group of schoolchildren
"""
ONLY_ALIKE = """
turns left | turns right
the car hits the van | the van hits the car
white letters on blue | blue letters on white
a black roof on a white car | a white roof on a black car
slows down | stops
before the crash | after the crash
at least two | at most one
The pedestrian waits for the car | The car waits for the pedestrian
The ego is in front of the truck | The ego is behind the truck
The woman pushes the man | The man pushes the woman
The child runs to its mother | The mother runs to the child
A blue van behind a red car | A red van behind a blue car
light rain | heavy rain
The pedestrian runs | The pedestrian walks
a parked car | a car park
a stop sign | a yield sign
It starts raining | It stops raining
It stops behind the line | It stops beyond the line
the left headlight | the left tail light
a motorcyclist | a cyclist
one car | two cars
No | It brakes
The ego brakes and the van swerves | The van brakes and the ego swerves
from left to right | from right to left
a vehicle | no car
"""


@pytest.mark.parametrize("pair", said(SAME))
def test_options_that_say_the_same(pair: str) -> None:
    one, other = (meaning(VQA, option) for option in pair.split(" | "))
    assert one.key == other.key


@pytest.mark.parametrize("pair", said(INCLUDED))
def test_an_option_that_includes_another(pair: str) -> None:
    wide, narrow = (meaning(VQA, option) for option in pair.split(" | "))
    assert wide.key != narrow.key and includes(VQA, wide, narrow) == "surely"


@pytest.mark.parametrize("pair", said(ONLY_ALIKE))
def test_options_that_only_look_alike(pair: str) -> None:
    one, other = (meaning(VQA, option) for option in pair.split(" | "))
    assert one.key != other.key and not like(one, other)
    assert not includes(VQA, one, other) and not includes(VQA, other, one)


def test_a_line_of_words_that_mean_the_same_is_read_as_one() -> None:
    lines = [line.split(", ") for some in ENGLISH["same"].values() for line in some]
    apart = [(first, p) for first, *others in lines for p in others
             if "sth" not in p and meaning(VQA, p).words != meaning(VQA, first).words]  # fmt: skip
    assert not apart


@pytest.mark.parametrize("text", ["", "???", "it", "no", "the", "#", "<3", "or"])
def test_an_option_without_words_is_like_no_other(text: str) -> None:
    one, other = meaning(VQA, text), meaning(VQA, "a lorry")
    assert one.key != other.key and not like(one, other) and not includes(VQA, one, other)
