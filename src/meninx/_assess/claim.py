"""Answer the Checklist for Artificial Intelligence in Medical Imaging where a program can.

Items follow the 2024 update (Tejani et al., Radiology: Artificial Intelligence 2024, 6(4):e240300).
The short texts do not replace the published form. Items that only the authors can answer are open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meninx._assess.classifiers import Classifier
from meninx._assess.evaluation import Evaluation
from meninx._detect.detector import Detector

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


def claim_answers(
    result: Evaluation,
    models: Sequence[Detector | Classifier],
    data: str,
    run: Mapping[str, object] | None,
) -> dict[int, str]:
    """Return the answers to the checklist that a program can give.

    Args:
        result: The evaluation.
        models: The evaluated models.
        data: The data, as the user named it.
        run: Contents of the run folder's run.json; None where there is none.

    Returns:
        Answers by item number.
    """
    how = (
        "leaking: cases share slices or patients with training"
        if result.leaking
        else ("no case shares a slice or a known patient with training or validation")
    )
    answers = {
        7: f"{data}, {len(result.cases)} cases",
        12: f"{len(result.unscored)} unreadable or refused scans left out and listed",
        20: how,
        28: "see Figures, and the decision curve",
        29: "95 % intervals: Wilson with a design effect, bootstrap over clusters",
        30: "shortcut probe and subgroups, above",
        32: f"{len(result.cases)} cases, {how}",
        35: f"{len(result.cases)} scored, {len(result.unscored)} not, {result.left_out} left out",
        38: "see Figures",
        39: "misses.html holds every miss",
        43: "meninx is open source (Apache-2.0); the SHA-256 of the model is below",
        **_answers_of(models[0], result),
    }
    if run is not None:
        recipe = run.get("recipe")
        packages = run.get("packages")
        network = recipe.get("network", {}) if isinstance(recipe, dict) else {}
        answers[23] = (
            ", ".join(f"{k} {v}" for k, v in packages.items())
            if isinstance(packages, dict)
            else "see run.json"
        )
        answers[24] = str(network.get("initialization", "see run.json"))
        answers[25] = "run.json in the run folder holds the recipe whole"
    return answers


def _answers_of(model: Detector | Classifier, result: Evaluation) -> dict[int, str]:
    """Return what is known of a model itself, by the item's number."""
    if isinstance(model, Classifier):
        return {
            9: model.how,
            22: f"model {model.model['name']}, its scores alone were evaluated",
            31: "maps by occlusion: the logit that is lost when a place is covered",
        }
    return {
        1: f"deep learning: convolutional network, {model.card.network_title}",
        9: f"crop to the head, {model.card.preprocessing.size} px, intensities scaled by "
        "percentiles",
        19: "folds that share slices or patients, allowed by the user"
        if result.leaking
        else "folds stratified by label, fixed by content; copies and patients kept together",
        22: f"detector {model.card.name}; its file holds the whole network",
        26: "chosen by the training run alone, without the cases of this evaluation",
        27: f"the mean of {len(model.card.members)} detectors" if model.card.members else "none",
        31: "the heat map is the decision itself: the score is a mean of its cells",
    }
