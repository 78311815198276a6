"""What no text about a clip says, by form: words of refusals, of echoed prompts, of what was never filled in, of other
languages. One expression a line; each is tried on lines that have one of the words it begins with (see `PATTERNS`).
"""

from __future__ import annotations

import re
from functools import lru_cache, reduce
from operator import or_
from typing import ClassVar


def any_of(lines: str, flags: int = 0) -> re.Pattern[str]:
    """One expression for several, one a line; a line further in goes on with the one before."""
    whole = re.sub(r"\n {8,}", "", lines.strip("\n"))
    return re.compile("|".join(line.strip(" ") for line in whole.split("\n")), flags)


def one_of(words: str) -> str:
    """A group of expressions without spaces, a space in them written as _."""
    return f"(?:{'|'.join(words.split()).replace('_', ' ')})"


def words_of(lines: str) -> frozenset[str]:
    return frozenset(lines.split())


def compiled(lines: str, flags: int = 0) -> re.Pattern[str]:
    """One expression that is written on several lines."""
    return re.compile(lines.replace("\n", ""), flags)


class Worded:
    """An expression that is tried only on texts which have one of its words: those it matches alone, and those of
    `also`, so that every match has one. Most texts have none, and are told by one look a word for all of these."""

    every: ClassVar[list[Worded]] = []

    def __init__(self, lines: str, also: str = "(?!)") -> None:
        self.expression, self.also = compiled(lines, re.I), compiled(also, re.I)
        self.bit = 1 << len(self.every)
        self.every.append(self)

    def search(self, text: str) -> re.Match[str] | None:
        return self.expression.search(text) if _heard(text) & self.bit else None


class _Bits(dict[str, int]):
    """By word, the bits of the expressions that are to be tried where it stands."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 1 << 17:
            self.clear()
        tried = (w for w in Worded.every if w.also.fullmatch(word) or w.expression.search(word))
        self[word] = bits = sum(w.bit for w in tried)
        return bits


BITS = _Bits()
SPOKEN = re.compile(r"\w+")


@lru_cache(maxsize=1 << 16)
def _heard(text: str) -> int:
    return reduce(or_, map(BITS.__getitem__, SPOKEN.findall(text)), 0)


MEDIA = "(?:video|frame|image|clip|footage|visual|picture|file|input|attachment|media|content|recording)s?"
DO = one_of("""view watch access assist help process provide analy[sz]e describe determine comply fulfil play open
    answer comment generate continue discuss complete produce predict make_(?:predictions|a) caption identify
    give_(?:a|any|you) offer respond write create interpret perceive support engage proceed speculate
    do_(?:this|that|so) be_(?:given|of_help)""")
REPLY = (
    "(?:(?:assist|help with|analy[sz]e|describe|comply|fulfil|caption|generate|comment|answer|speculate)\\b|"
    "provide (?:an?|any|the) (?:\\w+ )?(?:description|caption|answer|details?|information|analysis|response|summary)|"
    rf"(?:view|watch|see|access|process|play|open|load|interpret) (?:(?:the|this|that|any|your|these|actual) )*{MEDIA})"
)
MODEL = "(?:ai|artificial intelligence|llm|chatbot|large language|language|text-only|text-based|vision|virtual)"
DECLINE = one_of("""decline refuse pass_on refrain abstain rather_not prefer_not uncomfortable
    not_(?:be_|feel_)?(?:comfortable|allowed|permitted|authori[sz]ed|equipped|in_a_position)""")
NOT = "(?:cannot|can ?not|(?:ca|wo|do|could|would|did)n?['’]t|(?:do|will|could|would|did|may|must|should) not)"
GOT = one_of("""provided attached given available supplied received included uploaded shared accessible loaded
    detected found submitted shown_to_me""")
HARM = "(?:graphic|violen(?:t|ce)|distress(?:ing)?|disturbing|sensitive|harm(?:ful)?|upsetting|traumatic|explicit)"
REFUSAL = any_of(rf"""
    \b(?:as|being|am|i['’]m) (?:just |only |merely )?an? {MODEL}\b
    \b(?:language|ai|vision) (?:model|assistant)s?\b
    \bi(?:['’]m| am) (?:so |very |truly |really )?(?:sorry|afraid)\b
    ^\W*(?:(?:so|very|truly) )?sorry(?:,|[.!]$| (?:but|for|about|i)\b)
    \b(?:apologi[sz]e|apologies)\b
    \bforgive me\b
    \bi {NOT} feel (?:comfortable|right|able)\b
    \bi(?:['’]m|['’]d|['’]ll)?(?: \w+){{0,3}}? {DECLINE}\b
    \bi {NOT} (?:\w+ ){{0,2}}?(?:{DO}|have (?:access|enough|any|the|visual|sufficient|direct|eyes)|see (?:the
        |any) {MEDIA})
    \bi (?:{NOT}|am not|['’]m not) be (?:\w+ )?able to {DO}
    \b(?:request|task|one|thing) (?:that )?i (?:won['’]t|will not|cannot|can['’]t)\b
    \bi (?:have|had|see|lack|received|got) (?:no|neither|zero|any|(?:the )?(?:ability|access|means)
        |{MEDIA}) (?:\w+ )?(?:of|to|{MEDIA})
    \bi (?:have|had|was|am)(?:n['’]t| not) (?:been )?(?:given|shown|provided|sent|received)\b
    \bi(?:['’]m| am| was)? (?:\w+ ){{0,2}}?(?:unable|not able) to (?:{DO}\b|see (?:the|any|what) )
    \b(?:unable to|cannot|can ?not|can['’]t|not able to|(?:im|not |\w+n['’]t )possible (?:for me )?to) {REPLY}
    \bno (?:\w+ )?{MEDIA} (?:in|with) (?:this|the|your) (?:request|message|prompt|input|conversation)\b
    \bi(?:['’]m| am| was|['’]ve been| have been) (?:only |not )?(?:trained|designed|programmed|built)\b
    \bno (?:\w+ )?{MEDIA} (?:data |content |input )?(?:(?:was|were|is|are|has been|have been|could be|came) )?{GOT}
    \b{MEDIA} (?:link |file |data )?(?:could|can|did|does|was|were|is|are|has|have) ?(?:not
        |n['’]t) (?:be(?:en)? )?(?:load|open|play|process|view|access|{GOT})
    \b{MEDIA} (?:failed to|would not) (?:load|open|play)
    \bwithout (?:access to|seeing|being able to see|the actual|any actual|any) (?:the |any |actual )*{MEDIA}.*
        \b(?:i|cannot|unable|possible)\b
    \b(?:my|our|openai['’]?s?|against|content|usage) (?:\w+ )?(?:guidelines|polic(?:y|ies)|programming|training)\b
    \bmy (?:\w+ )?(?:capabilit(?:y|ies)|abilities|terms of (?:use|service)|ethical \w+|remit|knowledge)\b
    \b(?:beyond|outside) (?:of )?(?:the scope|(?:my|what i) (?:current )?(?:scope|abilit|capabilit|remit|function
        |knowledge|can\b|reach))
    \b(?:in|un|not |not be )(?:appropriate|ethical|responsible) (?:for me|of me|to (?:{DO}|depict|show|judge))\b
    \b{HARM} (?:content|material|imagery|images|footage|scenes?)\b
    \bplease (?:\w+ )?(?:upload|provide|share|attach|supply|send|resend|consult|contact|seek|rephrase|try|submit
        |give|ask|describe)\b
    \b(?:could|can|would) you (?:please |kindly )?(?:upload|provide|share|attach|send|clarify|rephrase|ask|try
        |supply|give|tell)\b
    \b(?:consult|contact|speak to|talk to) an? (?:\w+ )?(?:professional|expert|lawyer|specialist|authorit\w+
        |attorney)\b
    \b(?:insufficient|not enough) (?:\w+ )?(?:information|context|data|evidence|input) (?:to|for me)\b
""", re.I)  # fmt: skip

RULES = "(?:instructions?|prompts?|requests?|guidelines?|requirements?|schemas?|templates?|specifications?|task|brief)"
PARTS = one_of("""json yaml schemas? fields? clauses? sentences? words? paragraphs? captions? formats? markdown
    keys? outputs? metadata prompts? plain_(?:text
        |english) english questions? options distractors? descriptions? segments?
    tags? chain[-_]of[-_]thought""")
SPAN = r"(?:(?:one|two|three|\d+) ?(?:to|-|–|or) ?)?(?:two|three|four|five|six|ten|twenty|fifty|[2-9]|\d\d+)"
OPENER = one_of("""sure certainly okay ok absolutely alright all_right understood got_it gladly great_question
    of_course no_problem with_pleasure noted sure_thing""")
ORDERED = one_of("""return respond output answer reply write generate produce provide list cite use do_not don['’]t
    never make_sure ensure remember include mention follow format limit complete fill create compose rewrite""")
ECHO = any_of(rf"""
    ^\W*(?:user|assistant|system|human|ai|bot|chatgpt|instructions?|prompt|task|question|answer|response|output
        |input)\s*:
    ^\W*(?:caption|description|explanation|json|text|note to \w+|rewritten \w+|model)\s*(?:\([^)]*\)\s*)?:
    \bthe following (?:(?:is|are) (?:an?|the|my)|text|caption|description|json|answer|sentences?|paragraph|clauses?)\b
    \byour (?:request|question|prompt|task|caption|answer|job|instructions?|query|output|response|input|message
        |goal|role|reply)\b
    \byour (?:description|specifications?|requirements?|guidelines|schema|template)\b
    (?:^|[.!?] )\W*{OPENER}(?:[!.:—]|, (?:here|i|below|happy|let|this|the following|my|glad))
    ^\W*(?:sure|certainly|okay|ok|absolutely)\b\W
    \bhere(?:['’]s| is| are) (?:the|an?|my|your|what)\b.{{0,40}}(?::|caption|description|summary|answer|question
        |json|text|version|result)
    ^\W*here (?:you go|it is|you are|goes)\b
    \bbelow(?: is| are|,| you(?:['’]ll| will) find) .{{0,40}}(?:caption|description|json|answer|text|summary
        |clauses?|requested)
    \bas (?:requested|instructed|asked|specified|directed)(?! (?:by|to|at)\b)(?=\W|$)
    \bas per (?:the|your)\b
    ^\W*(?:level|clause|field|key) (?:one|two|three|\d+)\s*[(:–-]
    \b(?:per|following|(?:in keeping|in line|in accordance) with|according to|based on|obeying
        |in response to) (?:your|these|my|those) (?:\w+ )?{RULES}
    \b(?:per|according to|in (?:line|accordance|keeping) with|as|based on) the (?:\w+ )?(?:instructions|prompt
        |schema|template|specification)\b(?! (?:of|by))
    \b(?:above|following|preceding|these) (?:\w+ )?{RULES}\b
    \byou (?:asked|requested|wanted|provided|specified|gave|must|should|need to|have to|shall|may not|may only)\b
    \byou(?: are|['’]re) (?:an?|given|shown|asked|to|the)\b
    \byou (?:will|were|have been|['’]ll) (?:be )?(?:given|shown|asked|see|receive|get|told)\b
    \bif you (?:need|want|would like|have any)\b
    \bi(?:['’]ve| have) (?:produced|written|generated|kept|listed|created|prepared|included|omitted|followed|cited
        |summari[sz]ed|made sure)\b
    \bi (?:was|am|have been|['’]ve been) (?:given|asked|told|instructed|supplied|provided)\b
    \b(?:let me know|let me (?:describe|think|start|break)|i hope (?:this|that|it)|hope (?:this|that|it) helps
        |feel free to|(?:happy|glad) to (?:help|assist))\b
    \b(?:would you like me|is there anything else|anything else i can)\b
    (?:^|[.!?:;] )\W*(?:please )?{ORDERED}\b[^.?!:]{{0,60}}?\b{PARTS}\b(?!['’])
    \b(?:each|every|all|no|the|a) (?:clause|field|sentence|segment|option|caption|answer|distractor|key|value|level
        |step)s? (?:must|should|shall|needs? to|ha(?:s|ve) to|may not|cites?|can only)\b
    \bin {SPAN} (?:short |plain |full |complete |concise )?(?:sentences?|words|paragraphs?|clauses|bullet points?)\b
    \b(?:at most|no more than|fewer than|maximum of|max|up to|at least|exactly|under) {SPAN} (?:sentences?|words
        |paragraphs?|characters|tokens|clauses)\b
    \bjson\b
    \b(?:the|this|my) (?:user(?! of)|schema|system message|output format|few-shot|task description)\b
    \b(?:the|this|my) prompt\b(?! (?:\w+ing|re\w+|action|stop|swerve|evasive|intervention|manoeuvre|maneuver))
    \bground[- ]truth\b
    (?:^|[.!?:;] )\W*(?:please )?only (?:output|return|reply|respond|answer|write|give)\b
    \bplease (?:find|see the|refer)\b
    \b{MEDIA} (?:you )?(?:provided|supplied|attached|uploaded|shared)\b
    \b(?:the|my|our|this) task (?:is|was|requires|asks)\b
    \bi(?:['’]ll| will| shall)(?: now)? (?:describe|summari[sz]e|write|provide|give|list|explain|analy[sz]e|begin)\b
    (?:^|[.!?:;] )\W*(?:please )?(?:avoid|keep|state|describe|summari[sz]e|explain|note|be|start|begin|think)\b
        [^.?!:]{{0,60}}?\b(?:json|markdown|schema|output|metadata|prompt|captions?|clauses?|plain (?:text|english)
        |bullet points?|step by step)\b
    \b(?:event|attributes|clip|metadata)\.[a-z_]+\b
    \b(?:alert|event|start|end|horizon|duration)_s\b|\bego_role\b|\btime_basis\b
    \b(?:class|partner|weather|light|road|scene|role) ?= ?\w
    \bmetadata (?:i|you|(?:was|were|is|are)? ?(?:given|provided|supplied))\b
    \b(?:provided|given|supplied|attached|uploaded) (?:event |clip |input )?
        (?:metadata|frames|images|input|video|clip|footage|record|data|information)\b
    \bas an? (?:expert|annotator|helpful)\b
    \bexpert annotator\b
    <\|?(?:im_start|im_end|video|image|audio|s|user|assistant|system|think|answer|eot)\w*\|?>
    \[/?INST\]
""", re.I)  # fmt: skip

BARE = one_of("""string text example caption description placeholder answer question option sentence value label
    choice distractor dummy sample summary alternative""")
COUNTED = "(?:segment|step|clause|item|event|scene|reason|name|title|word|text|object|category|entry|field)"
HOLDER = any_of(r"""
    \b(?:todo|tbd|tba|tbc|fixme|xxx+|lorem|dolor sit amet|placeholder|n/a|nan|undefined|null|asdf\w*|qwerty|foobar
        |blah)\b
    \bn\.\s?a\.(?!\w)|\bfoo\b|\bbaz\b
    \bno (?:text|caption|description|answer|content|data|value) (?:yet|available|given|here)\b
    ^\W*(?:example|sample|draft|template)\s*\d*:
    \b(?:dummy|sample|example|default) (?:text|value|option|caption|answer|description)\b
    \bxx+\b
    ^\W*(?:\w+ ){0,2}(?:text|caption|description|answer|option|sentence|question|value|content|details?) here\W*$
    \bgoes here\b
    \b(?:insert|enter|type|put|fill in|replace with) (?:\w+ ){1,4}here\b
    \b(?:to|still to|yet to) be (?:completed|filled|added|determined|decided|confirmed|written|done|defined
        |announced|specified|supplied|inserted|continued)\b
    \b(?:fill|complete) (?:this|me|it) in\b|\bfill (?:this|me) (?:in|out)\b|\bfill in later\b
    \b(?:not (?:yet )?|un)(?:filled in|filled)\b
    #(?:name|ref|value|n/a|div/0)\b
    \b(?:at|by|after|about|around|of|from) [xyzn] (?:s|secs?|seconds?|met(?:er|re)s|km|m)\b
    \b(?:vehicle|car|person|object|road user) [xyz]\b
    \{[^{}]{0,40}\}|\[[^\]\d][^\]]{0,40}\]|<[^<>\d]{1,40}>|<\w+ ?\d+>
    (?-i:\b[A-Z]{2,}(?:_[A-Z0-9]+)+\b)
    \$\{?\w+|%s|%\(\w|_{3,}|\?{3,}|\.{4,}|…\s*…
""", re.I)  # fmt: skip
WHOLE = any_of(rf"""
    \W*
    \W*(?:the |your |an? |some |this |my |other |another |wrong |right |correct |first |second |long |short )
        *{BARE}s?(?:[ _#-]?(?:\d+|[a-h]|one|two|three|four|text|here))?\W*
    \W*(?:{BARE}s?\W+)+{BARE}s?\W*
    \W*\(none\)\W*|\W*(?:test|testing|nil)\W*
    \W*{COUNTED}[ _#-]?(?:\d+|[a-d])\W*
""", re.I)  # fmt: skip

# Function words of other languages that are no English ones, and words of the road, that count twice.
OTHERS = """der das und ist nicht ein eine einem einer einen auf mit dem den des von wird sich bei zu zur zum über
    vor nach aus dann es kommt keinem kein keine wie als durch noch nur sind le les de du auto une est dans avec sur
    pour qui pas et au aux ne sont il elle se ce cette par donc puis devant vers el los las una unas unos con por
    para que del está su pero muy lo al sin hay como entre hacia desde gli di della del dello nel nella sul che è
    dal dalla alla viene non si una sono una poi dopo os um uma na em da dos das pelo pela ao à ou é segue não nada
    mais het een voor niet wordt op naar zijn maar ook bij en er aan geen volgt rijdt och är på som att inte av ett
    til ikke på med fra blir og jeg den der kører kjører han hon jest się nie na przez oraz przed po od ze za w z je
    na ve před není který sa ktorý si este pe cu din la și spre nu un ve bir bu ile için icin var yok olarak sonra
    önünde onunde değil degil çok cok dan yang di ini itu dengan tidak dari untuk pada ke oleh sebuah ada sedang va
    cua trai phai re tai khong mot nguoi tren dang voi phia truoc khi roi va trong xe duong hai hain aur mein nahi
    nahin ki ka ke ko se gaya raha rahi rahe hota hoti tha thi apni apna koi ek yeh woh kar liye ja ei se kun sitä
    myös edessä az egy és nem után előtt ang ng mga sa ay na wa ni desu shite iru zai le de shi na ya kwa katika ne
    po v i je nema ide koja fi ala"""
ROADS = """pleut lloviendo llueve nieva piove nevica chove regnet schneit regnar regner snöar prší plouă ninge
    yağıyor yagiyor mua bremst hält stoppt freine tourne gira svolta stannar svänger skręca hamuje brzdí megáll
    fékez jarruttaa kääntyy duruyor belok fahrzeug straße strasse wagen unfall regen nacht nebel schnee fußgänger
    landstraße ampel kreuzung fährt fahrrad lkw voiture pluie nuit piéton neige brouillard chaussée véhicule
    conduite camion autoroute vélo coche carretera lluvia noche niebla nieve peatón peaton calle vehículo vehiculo
    choca choque circula frena semáforo camión macchina vettura strada pioggia notte nebbia pedone veicolo furgone
    semaforo autovettura incidente urtato carro estrada chuva noite nevoeiro neve rua veículo veiculo acidente
    trânsito colisão pedestre voertuig fietser steekt rijbaan weg straat sneeuw voetganger fiets ongeluk botsing
    bilen bil vägen vejen veien gatan regn natt snö snø olycka ulykke samochód samochod droga drodze ulica ulicy
    deszcz pada pojazd pojazdu jedzie pieszy silnice vůz vozidlo cesta kiša mașina masina drumul ploaie araba araç
    arac yol yolda yağmur yagmur gece kaza sürücü surucu otobüs yaya çarpıyor mobil jalan kendaraan hujan malam
    siang sepeda tabrakan kereta melaju berhenti gaadi gadi sadak baarish barish raat takkar saamne samne peeche
    chal gaari ajoneuvo auton ajaa risteys jalankulkija jármű kuruma michi shingo ame che lu sataa autó út eső kotse
    daan umuulan gari barabara mvua mashina doroga doroge ulitsa dozhd avtomobil udar"""
