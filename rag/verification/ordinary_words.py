"""Words that begin English sentences and are no names.

The commonest first words of sentences in the openly licensed textbooks of OpenStax that mostly stand in lower case
elsewhere, and endings that names seldom have.
"""

from __future__ import annotations


def word_set(words: str) -> frozenset[str]:
    """Return the words of a list."""
    return frozenset(words.split())


_WORDS = word_set(
    """
     a about academic accessed according accordingly accounting activation active acute additional adult adults
    advances advertising after again age aggregate air al alcohol aldosterone all almost along also although am
    among an anabolic analysis and angiotensin animal annual another answer answers anti antibiotic antibiotics
    antibodies antigens any anyone applied approximately archives are aren't around artificial as aside ask assume
    at autonomic available average axons bacteria bacterial banks based basic be because been before beginning
    behavior being below between beyond bicarbonate biofilms biological bipolar blood body bone bones born both
    brain building bullying business businesses but by calcium calculate can cancer candidates carbon cardiac case
    cases cell cells cellular central certain certainly changes chapter check chemical child children chronic
    citizens classical clearly cognition cognitive collective collectively commercial committees common companies
    company compare compared comparing compliance computer concerns consequently consider considering consumer
    consumers contemporary corporate corporations could countries creating critical critics cross cultural culture
    current currently customers cyberbullying damage data death decisions deep demand depending despite determine
    developing development developmental diagnosis did didn't differences different direct discrimination diseases
    diversity divide do does doing domestic don't dr draw drug drugs due during each earlier early economic
    economists edited effective effects either elections emerging emotion empirical employees employers energy
    entrepreneurs environmental enzymes epithelial equal essentially estimates ethical eukaryotic even eventually
    every everyone everything evidence evolutionary examples except excess excessive exchange executive explain
    explore exposure extensive factors failure fall family feel fetal few figure finally financial find firms first
    fiscal five fixed follow following food for foreign formal former four free freedom frequently from full fungal
    fungi further gender gene general generally genes genetic getting given globalization glucose go good government
    governments gram group groups growing growth had hair has have having he heavy hence her here high higher his
    historical historically holder homeostasis hormones how however human humans hydrogen i if imagine immediately
    implicit important importantly imports in income increased increasing increasingly indeed individual individuals
    infants infected infection infections inflammation inflation information initially inside instead instructors
    insurance interest internal intrinsic investment investors is isn't issues it it's its job journalists judicial
    jump just keep key knowledge labor laboratory language large larger last later laws learn learning legal less
    let let's life light like lipids listen little local located logic long look looking low lower lymph macrophages
    major making management managers managing manufacturers many market marketers marketing may measuring mechanisms
    media medical members memory men mental metabolic microbes microorganisms might moderate modern molecular
    molecules monetary money moral more most motor movement mr mrs ms much multiple muscle muscles must my natural
    nature nearly negative neither nervous neural neurons next nicotine no nobody non none nor normal normally
    normative not note nothing notice now numerous obviously of often on once one online only opponents or oral
    organisms organizational organizations originally other others our outside over overall oxygen page pain part
    participants pathogens patients people perceived perception perhaps personal personality philosophers physical
    policy political politicians positive potential poverty power prejudice presidential presidents prevalence price
    prices primary prime prior private problems product production products prof professional prokaryotes proponents
    protein proteins protozoans psychologists public pulmonary put quality questions race racial rather read real
    recall recent recently receptors recognition red reducing regardless regulation related remember representative
    researchers resistance resources respiratory results returning risk rules sales samples say scholars scientific
    scientists second secondary section see self sensory serological several severe sex sexual shall she short
    should signs similar similarly simply since single skeletal skin sleep small smooth so social society sodium
    some someone sometimes soon sound source sources special specialized specific specifically stage stakeholders
    starting state step still stimuli stress strong structurally students studies studying subject subsequent
    substance successful such summer supply supporters suppose sweat symptoms synovial systemic table take taken
    taking taste tax taxes team technological technology television ten term testing tests that the their then
    theories theory there therefore these they think thinking third this those though three through throughout thus
    time to today together total toward trade traditional traditionally training translated transmission treatment
    treatments true try two type typical typically ultimately under understanding unemployment unless unlike until
    updated upon urine use using usually utilitarianism vaccination value various venture very view viral virtue
    viruses visit visual voluntary voters voting was water we well were what whatever when whenever where whereas
    whether which while who whoever whom whose why will with within without women work workers working worldwide
    would yes yet you young your
    additionally afterwards besides earlier furthermore hence later likewise maybe meanwhile moreover nevertheless
    nonetheless often okay otherwise overall please plus rarely soon sorry sure thanks usually well
    """
)
FUNCTION_WORDS = word_set(
    """
    a an and are as at be been being but by can could did do does for from had has have he her hers him his how i if
    in into is it its may might more most of on one only or other our she should so some such than that the their
    them then there these they this those to was we were what when where which while who whom whose why will with
    would you your also any all both each very much many ever yet still just too made make get got longer
    """
)
_ENDINGS = (
    "ing", "tion", "sion", "ment", "ness", "ally", "ity", "ism", "ology", "ance", "ence", "ously", "fully", "ively",
    "able", "ible", "ful", "less", "ward", "wards", "ists", "ers", "tions", "ments", "ities", "ised", "ized", "ated",
)  # fmt: skip
_SHORTEST = 6  # of a word that is judged by its ending


def is_ordinary(word: str) -> bool:
    """Return whether a word in lower case is an ordinary English word, as far as a short list and endings tell."""
    return word in _WORDS or (len(word) >= _SHORTEST and word.endswith(_ENDINGS))
