"""SNOMED CT terminology of a label, derived from its name, in the format of 3D Slicer's ``TerminologyEntry`` tag."""

from __future__ import annotations

import re

_GENERAL = "Segmentation category and type - 3D Slicer General Anatomy list"
_MASTER = "Segmentation category and type - DICOM master list"
_REGIONS = "Anatomic codes - DICOM master list"
_TISSUE = "SCT^85756007^Tissue"
_STRUCTURE = "SCT^123037004^Anatomical Structure"
_ALTERED = "SCT^49755003^Morphologically Altered Structure"

TISSUE = f"{_GENERAL}~{_TISSUE}~{_TISSUE}~^^~{_REGIONS}~^^~^^"
"""Slicer's default entry for a segment."""

_MODIFIERS = {
    "left": "SCT^7771000^Left",
    "right": "SCT^24028007^Right",
    "anterior": "SCT^255549009^Anterior",
    "posterior": "SCT^255551008^Posterior",
}
_SHORT = {"l": "left", "r": "right", "lt": "left", "rt": "right", "ant": "anterior", "post": "posterior"}

_KNOWN: tuple[tuple[str, str, str, str], ...] = (
    # words of the name (a regular expression), context, category, type; the first that fits counts
    (r"myo|myocard\w*|lv ?myo\w*|lvm", _MASTER, _STRUCTURE, "74281007^Myocardium"),
    (r"left vent\w*|lv( cavity| blood( pool)?)?|lvc", _GENERAL, _STRUCTURE, "87878005^Left Ventricle"),
    (r"right vent\w*|rv( cavity| blood( pool)?)?|rvc", _GENERAL, _STRUCTURE, "53085002^Right Ventricle"),
    (r"left atri\w*|la", _MASTER, _STRUCTURE, "82471001^Left atrium"),
    (r"right atri\w*|ra", _MASTER, _STRUCTURE, "73829009^Right atrium"),
    (r"metasta\w*", _MASTER, _ALTERED, "14799000^Neoplasm, Secondary"),
    (r"tumou?rs?|cancer|carcinoma|neoplasms?|glioma\w*", _MASTER, _ALTERED, "108369006^Neoplasm"),
    (r"(o?edema)", _GENERAL, _ALTERED, "79654002^Edema"),
    (r"necro\w*", _GENERAL, _ALTERED, "6574001^Necrosis"),
    (r"cysts?", _GENERAL, _ALTERED, "367643001^Cyst"),
    (r"nodules?", _MASTER, _ALTERED, "27925004^Nodule"),
    (r"lesions?|mass(es)?", _GENERAL, _ALTERED, "4147007^Mass"),
    (r"ha?emorrhages?|bleeding", _MASTER, _ALTERED, "50960005^Hemorrhage"),
    (r"hippocamp\w*", _MASTER, _STRUCTURE, "5366008^Hippocampus"),
    (r"amygdala\w*", _GENERAL, _STRUCTURE, "4958002^Amygdala"),
    (r"thalam\w*", _GENERAL, _STRUCTURE, "119406000^Thalamus"),
    (r"caudate putamen|caudoputamen|striatum", _GENERAL, _STRUCTURE, "31428008^Corpus striatum"),
    (r"caudate( nucle\w*)?", _GENERAL, _STRUCTURE, "11000004^Caudate nucleus"),
    (r"putamen", _GENERAL, _STRUCTURE, "89278009^Putamen"),
    (r"(globus )?pallid\w*", _GENERAL, _STRUCTURE, "14738005^Globus pallidus"),
    (r"corpus callosum", _GENERAL, _STRUCTURE, "88442005^Corpus callosum"),
    (r"cerebell\w*", _MASTER, _STRUCTURE, "113305005^Cerebellum"),
    (r"neocortex|cerebral cortex|cortex", _MASTER, _STRUCTURE, "40146001^Cerebral cortex"),
    (r"gr[ae]y matter|gm", _GENERAL, _STRUCTURE, "389081007^Gray Matter"),
    (r"white matter|wm", _GENERAL, _STRUCTURE, "389080008^White Matter"),
    (r"spinal cord", _GENERAL, _STRUCTURE, "2748008^Spinal cord"),
    (r"brain", _GENERAL, _STRUCTURE, "12738006^Brain"),
    (r"liver|hepar", _GENERAL, _STRUCTURE, "10200004^Liver"),
    (r"kidneys?|renal", _GENERAL, _STRUCTURE, "64033007^Kidney"),
    (r"spleen", _GENERAL, _STRUCTURE, "78961009^Spleen"),
    (r"pancreas", _GENERAL, _STRUCTURE, "15776009^Pancreas"),
    (r"gall ?bladder", _GENERAL, _STRUCTURE, "28231008^Gallbladder"),
    (r"(urinary )?bladder", _GENERAL, _STRUCTURE, "89837001^Bladder"),
    (r"stomach", _GENERAL, _STRUCTURE, "69695003^Stomach"),
    (r"duodenum", _GENERAL, _STRUCTURE, "38848004^Duodenum"),
    (r"colon", _GENERAL, _STRUCTURE, "71854001^Colon"),
    (r"rectum", _MASTER, _STRUCTURE, "34402009^Rectum"),
    (r"o?esophagus", _GENERAL, _STRUCTURE, "32849002^Esophagus"),
    (r"adrenal( gland)?s?", _GENERAL, _STRUCTURE, "23451007^Adrenal gland"),
    (r"thyroid( gland)?", _GENERAL, _STRUCTURE, "69748006^Thyroid"),
    (r"prostate", _GENERAL, _STRUCTURE, "41216001^Prostate"),
    (r"uterus", _GENERAL, _STRUCTURE, "35039007^Uterus"),
    (r"lungs?", _GENERAL, _STRUCTURE, "39607008^Lung"),
    (r"trachea", _GENERAL, _STRUCTURE, "44567001^Trachea"),
    (r"aorta", _GENERAL, _STRUCTURE, "15825003^Aorta"),
    (r"heart", _GENERAL, _STRUCTURE, "80891009^Heart"),
    (r"femurs?", _MASTER, _STRUCTURE, "71341001^Femur"),
    (r"vertebra\w*", _MASTER, _STRUCTURE, "51282000^Vertebra"),
    (r"breasts?", _MASTER, _STRUCTURE, "76752008^Breast"),
    (r"(vessels?|arter(y|ies))", _GENERAL, _TISSUE, "51114001^Artery"),
    (r"veins?", _GENERAL, _TISSUE, "29092000^Vein"),
    (r"bones?", _GENERAL, _TISSUE, "272673000^Bone"),
    (r"muscles?", _GENERAL, _TISSUE, "71616004^Muscle"),
)


def terminology_for(name: str, place: str = "") -> str:
    """The terminology entry for the name of a label.

    Args:
        name: Name of the label, such as "LV", "left kidney" or "Anterior".
        place: Its context, such as the name of the cohort's folder; used where the name is only a part or side
            ("Anterior", "left").

    Returns:
        Context, category, type, modifier and region between "~", with codes of SNOMED CT; ``TISSUE`` where the name is
        unknown.
    """
    words = _words(name)
    found = _find(words)
    if found is None and words and all(word in _MODIFIERS for word in words):
        found = _find(_words(place))
    if found is None:
        return TISSUE
    context, category, kind = found
    named = kind.partition("^")[2].lower().split()
    side = next((_MODIFIERS[word] for word in words if word in _MODIFIERS and word not in named), "^^")
    return f"{context}~{category}~SCT^{kind}~{side}~{_REGIONS}~^^~^^"


def _words(text: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    found = re.findall(r"[a-z0-9]+", spaced.lower())
    return [_SHORT.get(word, word) for word in found]


def _find(words: list[str]) -> tuple[str, str, str] | None:
    text = " ".join(words)
    for pattern, context, category, kind in _KNOWN:
        if re.search(rf"(?<!\S)(?:{pattern})(?!\S)", text):
            return context, category, kind
    return None
