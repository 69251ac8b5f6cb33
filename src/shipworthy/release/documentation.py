"""Settings of the project key `documentation:`: what only people can say about a model.

Cards and technical documentation quote these texts as declared; what is left out stands there as
"none", with the key that would give it. Numbers belong to measurements, not here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Said = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class DataDocumentation(BaseModel):
    """What people know about the rows; each text has 1 to 4,000 characters."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    motivation: Said | None = None
    """Why the data were gathered, by whom and with whose money."""

    collection: Said | None = None
    """How, when and from where the rows were gathered."""

    labelling: Said | None = None
    """Who gave the labels, by which instructions, and how far they agreed."""

    preprocessing: Said | None = None
    """What was cleaned, dropped or rewritten before the rows came here."""

    personal_data: Said | None = None
    """Whether rows are about people, on which legal ground they are used, and what was removed."""

    licence: Said | None = None
    """Licence or terms of the rows."""

    uses: Said | None = None
    """What the rows were used for besides, and what they must not be used for."""

    distribution: Said | None = None
    """Who gets the rows, and how."""

    maintenance: Said | None = None
    """Who keeps the rows, corrects them and answers for them."""


class Documentation(BaseModel):
    """What people declare about the model; each text has 1 to 4,000 characters."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    provider: Said | None = None
    """Who places the model on the market or puts it into service."""

    contact: Said | None = None
    """Where questions and complaints go."""

    version: Said | None = None
    """Version of the product that the model is part of, and its relation to earlier ones."""

    licence: Said | None = None
    """Licence of the model that ships, as an identifier of the Hugging Face Hub (`apache-2.0`);
    without it the licence of the model that it started from is named."""

    base_licence: Said | None = None
    """Licence of the model that training started from, where its own files say none."""

    languages: tuple[Said, ...] = ()
    """Languages of the texts, as ISO 639-1 codes (`en`, `zh`)."""

    intended_use: Said | None = None
    """What the model is for, and for whom."""

    out_of_scope: Said | None = None
    """What the model must not be used for."""

    instructions: Said | None = None
    """Instructions for those who deploy it, or where they stand."""

    interaction: Said | None = None
    """Hardware, software and other systems that the model works with."""

    distribution: Said | None = None
    """Forms in which it is delivered: package, download, service."""

    hardware: Said | None = None
    """Hardware that it is meant to run on."""

    interface: Said | None = None
    """What users see and operate."""

    design: Said | None = None
    """Main choices of the design, what was assumed, and what was given up for what."""

    human_oversight: Said | None = None
    """Who watches the model in use, and how they can stop or overrule it."""

    planned_changes: Said | None = None
    """Changes that are foreseen, and how compliance is kept through them."""

    cybersecurity: Said | None = None
    """Measures against attacks on the model and its data."""

    limitations: Said | None = None
    """Where the model is known or expected to fail."""

    risks: Said | None = None
    """Foreseeable harm to health, safety, fundamental rights, and discrimination."""

    metrics: Said | None = None
    """Why these measures and limits fit the use."""

    risk_management: Said | None = None
    """The system that finds, rates and treats risks over the whole life."""

    changes: Said | None = None
    """What the provider changed in the system since it was first documented."""

    standards: tuple[Said, ...] = ()
    """Harmonised standards and other specifications that were applied."""

    declaration_of_conformity: Said | None = None
    """The declaration, or where its signed copy lies."""

    post_market_plan: Said | None = None
    """How performance is watched in use, and by whom."""

    data: DataDocumentation = DataDocumentation()
    """What people know about the rows."""
