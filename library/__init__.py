"""The model library: adding a member is one file in members/ or data/, and one line in MODELS or DATA_SETS.

A line is an entry point's value, `module:class`; wheels of others bring members by the same form (README.md).
"""

from functools import cache
from pkgutil import resolve_name
from typing import Any, TypeVar

from library.base import DataSet, Model
from library.third_party import Catalogue, add_all
from shared.errors import NotFound

MODELS = (
    "library.members.digits_cnn:DigitsCnn",
    "library.members.breast_cancer_mlp:BreastCancerMlp",
    "library.members.diabetes_mlp:DiabetesMlp",
    "library.members.spam_filter:SpamFilter",
    "library.members.fashion_resnet:FashionResnet",
    "library.members.recommender:Recommender",
    "library.members.credit_score:CreditScore",
    "library.members.fraud:Fraud",
    "library.members.thyroid:ThyroidModel",
    "library.members.sentiment:Sentiment",
    "library.members.topic_classifier:TopicClassifier",
    "library.members.language_id:LanguageId",
    "library.members.next_basket:NextBasket",
    "library.members.volatility:Volatility",
    "library.members.direction:Direction",
    "library.members.ctr:Ctr",
    "library.members.coupon_redemption:CouponRedemption",
    "library.members.asr_tiny:AsrTiny",
    "library.members.tts_voice:TtsVoice",
    "library.members.tts_distilled:TtsDistilled",
    "library.members.collision_risk:CollisionRisk",
    "library.members.driving_policy:DrivingPolicy",
    "library.members.driving_clips:DrivingClips",
    "library.members.image_features:ImageFeatures",
    "library.members.visual_search:VisualSearch",
    "library.members.sentence_embedder:SentenceEmbedder",
    "library.members.product_search:ProductSearch",
    "library.members.ner:Ner",
    "library.members.summarizer:Summarizer",
)
DATA_SETS = (
    "library.data.digits:Digits",
    "library.data.breast_cancer:BreastCancer",
    "library.data.diabetes:Diabetes",
    "library.data.fashion_mnist:FashionMnist",
    "library.data.mails:Mails",
    "library.data.film_ratings:FilmRatings",
    "library.data.card_payments:CardPayments",
    "library.data.credit:Credit",
    "library.data.thyroid:Thyroid",
    "library.data.opinions:Opinions",
    "library.data.opinions:Topics",
    "library.data.declarations:Declarations",
    "library.data.baskets:Baskets",
    "library.data.markets:MarketVariance",
    "library.data.markets:MarketDirection",
    "library.data.impressions:Impressions",
    "library.data.libri_clips:LibriClips",
    "library.data.sentences:Sentences",
    "library.data.tts_taught:TtsTaught",
    "library.data.highway:HighwayRisk",
    "library.data.highway:HighwayDecisions",
    "library.data.highway:HighwayClips",
    "library.data.products:Products",
    "library.data.coupons:Coupons",
    "library.data.silver_names:SilverNames",
    "library.data.subject_lines:SubjectLines",
)


@cache
def catalogue() -> Catalogue:
    """All members, the library's own first; read once a process."""
    own = Catalogue(
        models={member.name: member() for member in map(resolve_name, MODELS)},
        data_sets={member.name: member() for member in map(resolve_name, DATA_SETS)},
    )
    return add_all(own)


def models() -> dict[str, Model[Any]]:
    """All models by name."""
    return catalogue().models


def data_sets() -> dict[str, DataSet]:
    """All data sets by name."""
    return catalogue().data_sets


def model(name: str) -> Model[Any]:
    """The model of this name; NotFound says which there are."""
    return _named("model", name, models())


def data_set(name: str) -> DataSet:
    """The data set of this name; NotFound says which there are."""
    return _named("data set", name, data_sets())


def problems() -> list[str]:
    """What wheels tried to bring and could not, in words."""
    return [f"{title} was left out: {reason}" for title, reason in catalogue().problems.items()]


M = TypeVar("M")


def _named(kind: str, name: str, members: dict[str, M]) -> M:
    if name not in members:
        left_out = "".join(f"; {problem}" for problem in problems())
        raise NotFound(f"the library has no {kind} {name!r}; it has {', '.join(sorted(members))}{left_out}")
    return members[name]
