"""Answer the Checklist for Artificial Intelligence in Medical Imaging where a program can.

Items follow the 2024 update (Tejani et al., Radiology: Artificial Intelligence 2024, 6(4):e240300).
The short texts do not replace the published form. Items that only the authors can answer are open.
"""

from dataclasses import dataclass

_AUTHORS = "for the authors to write"


@dataclass(frozen=True)
class ChecklistItem:
    """One item of the checklist.

    Args:
        number: Number of the item, 1 to 44.
        section: Section of the manuscript.
        text: Fact to be reported.
        answer: Answer of this evaluation, or `_AUTHORS`.
    """

    number: int
    section: str
    text: str
    answer: str

    @property
    def is_open(self) -> bool:
        """Whether the authors must answer it."""
        return self.answer == _AUTHORS


_ITEMS = (
    ("Title", "Names the study as one of AI, with the kind of technology"),
    ("Abstract", "Structured summary of design, methods, results and conclusions"),
    ("Introduction", "Scientific and clinical background, intended use and role of the AI"),
    ("Introduction", "Aims, objectives and hypotheses"),
    ("Study design", "Prospective or retrospective"),
    ("Study design", "Goal of the study"),
    ("Data", "Sources of the data"),
    ("Data", "Inclusion and exclusion criteria"),
    ("Data", "Preprocessing"),
    ("Data", "Selection of subsets of the data"),
    ("Data", "De-identification"),
    ("Data", "How missing data were handled"),
    ("Data", "Protocol of image acquisition"),
    ("Reference standard", "How the reference standard was obtained"),
    ("Reference standard", "Why that reference standard"),
    ("Reference standard", "Who annotated, and with which qualification"),
    ("Reference standard", "Tools of annotation"),
    ("Reference standard", "Variability within and between annotators"),
    ("Data partitions", "How the data were assigned to partitions"),
    ("Data partitions", "On which level the partitions are disjoint"),
    ("Testing data", "Intended size of the sample"),
    ("Model", "Detailed description of the model"),
    ("Model", "Software libraries, frameworks and packages"),
    ("Model", "How parameters were initialized"),
    ("Training", "Training approach in detail, with augmentation and hyperparameters"),
    ("Training", "How the final model was chosen"),
    ("Training", "Ensembling"),
    ("Evaluation", "Metrics of performance"),
    ("Evaluation", "Measures of significance and uncertainty"),
    ("Evaluation", "Robustness or sensitivity analysis"),
    ("Evaluation", "Methods of explainability, and their validation"),
    ("Evaluation", "Evaluation on internal data"),
    ("Evaluation", "Evaluation on external data"),
    ("Evaluation", "Registration of a clinical trial"),
    ("Results: data", "Numbers of patients or examinations included and excluded"),
    ("Results: data", "Demographic and clinical characteristics of each partition"),
    ("Results: model", "Performance on all partitions"),
    ("Results: model", "Estimates with their precision"),
    ("Results: model", "Failure analysis"),
    ("Discussion", "Limitations, with bias, uncertainty and generalizability"),
    ("Discussion", "Implications for practice, intended use and role"),
    ("Other", "Where the full protocol or technical details are"),
    ("Other", "Availability of software, model and data"),
    ("Other", "Funding and other support, role of the funders"),
)


def checklist(answers: dict[int, str]) -> list[ChecklistItem]:
    """Return the checklist with answers.

    Args:
        answers: Answers by the item's number.

    Returns:
        All 44 items.
    """
    return [
        ChecklistItem(number, section, text, answers.get(number, _AUTHORS))
        for number, (section, text) in enumerate(_ITEMS, 1)
    ]
