"""Every component by kind and name: built-ins as strings, plugins by entry points.

Listing imports nothing; a component's module is imported when it is first used. A third-party
package adds a component with an entry point of the same ``module:attribute`` form::

    [project.entry-points."seqcl.losses"]
    my_loss = "my_package.loss:MyLoss"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar, cast

from seqcl.errors import SeqclError, UsageError, did_you_mean

__all__ = ["REGISTRIES", "Registry", "Spec", "registry"]

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])


class Registry(Mapping[str, Any]):
    """The components of one kind, by name; ``registry[name]`` imports and returns the class."""

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self.builtin = dict(builtin)
        self._plugins: dict[str, EntryPoint] | None = None
        self._local: dict[str, Any] = {}

    @property
    def plugins(self) -> dict[str, EntryPoint]:
        """Entry points of ``seqcl.KIND``; one that takes a built-in's name is an error."""
        if self._plugins is None:
            found: dict[str, EntryPoint] = {}
            for point in entry_points(group=f"seqcl.{self.kind}"):
                taken = "a built-in" if point.name in self.builtin else None
                if point.name in found:
                    taken = f"a plugin of {_package(found[point.name])!r} too"
                if taken:
                    raise UsageError(
                        f"plugin {point.value!r} registers {self.kind} {point.name!r}, which is "
                        f"{taken}; rename the entry point in package {_package(point)!r}"
                    )
                found[point.name] = point
            self._plugins = found
        return self._plugins

    def register(self, name: str) -> Callable[[C], C]:
        """Register a class from a notebook: ``@registry("losses").register("my_loss")``."""

        def add(component: C) -> C:
            if name in self.builtin or name in self.plugins:
                raise SeqclError(f"{self.kind} {name!r} exists already; choose another name")
            self._local[name] = component
            return component

        return add

    def origin(self, name: str) -> str:
        """Return where `name` comes from: ``module:attribute``, with the package of a plugin."""
        if name in self.builtin:
            return self.builtin[name]
        if name in self.plugins:
            point = self.plugins[name]
            return f"{point.value} (plugin {_package(point)})"
        component = self._local[name]
        return f"{component.__module__}:{component.__qualname__}"

    def __getitem__(self, name: str) -> Any:
        if name in self.builtin:
            module, _, attribute = self.builtin[name].partition(":")
            return getattr(import_module(module), attribute)
        if name in self._local:
            return self._local[name]
        if name in self.plugins:
            point = self.plugins[name]
            try:
                return point.load()
            except Exception as error:
                raise SeqclError(
                    f"{self.kind} {name!r}: plugin {_package(point)!r} ({point.value}) cannot be "
                    f"loaded: {type(error).__name__}: {error}"
                ) from error
        raise UsageError(f"{self.kind}: unknown name {name!r}.{did_you_mean(name, self)}")

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in self._local or name in self.plugins

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self.builtin, *self.plugins, *self._local}))

    def __len__(self) -> int:
        return len({*self.builtin, *self.plugins, *self._local})


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


@dataclass(frozen=True)
class Spec(Generic[T]):
    """A component by name with its options, built later with its positional arguments.

    ``Spec("heads", "mlp", {"hidden": 256}).build(encoder.out_dim)``. An option annotated
    ``Spec[Head]`` takes any component of the kind that ``Head.kind`` names.
    """

    kind: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def build(self, *positional: Any) -> T:
        """Import the component and construct it."""
        return cast(T, registry(self.kind)[self.name](*positional, **self.options))


def registry(kind: str) -> Registry:
    """Return the registry of `kind`, for example ``registry("losses")``."""
    if kind not in REGISTRIES:
        raise UsageError(f"unknown kind {kind!r}.{did_you_mean(kind, REGISTRIES)}")
    return REGISTRIES[kind]


_SEQ = "seqcl.modalities.sequence"
_IMG = "seqcl.modalities.image"
_DET = "seqcl.detection"
_AUDIO = "seqcl.modalities.audio"

_BUILTIN: dict[str, dict[str, str]] = {
    "modalities": {
        "sequence": f"{_SEQ}.plugin:SEQUENCE",
        "image": f"{_IMG}.plugin:IMAGE",
        "audio": f"{_AUDIO}.plugin:AUDIO",
    },
    "sources": {
        "file": "seqcl.data.sources:FileSource",
        "aeon": f"{_SEQ}.aeon:AeonSource",
        "sklearn": f"{_IMG}.digits:SklearnSource",
    },
    "readers": {
        "npz": f"{_SEQ}.arrays:NpzReader",
        "npy": f"{_SEQ}.arrays:NpyReader",
        "table": f"{_SEQ}.table:TableReader",
        "hdf5": f"{_SEQ}.hdf5:Hdf5Reader",
        "ts": f"{_SEQ}.ts:TsReader",
        "ucr": f"{_SEQ}.ts:UcrReader",
        "audio": f"{_AUDIO}.files:AudioFileReader",
        "image": f"{_IMG}.files:ImageFileReader",
        "image_npz": f"{_IMG}.archives:ImageNpzReader",
    },
    "frontends": {
        "identity": "seqcl.views.frontend:IdentityFrontend",
        "standardise": f"{_IMG}.frontend:Standardise",
        "log_mel": f"{_AUDIO}.frontend:LogMel",
        "mfcc": f"{_AUDIO}.frontend:Mfcc",
        "pcen": f"{_AUDIO}.frontend:Pcen",
    },
    "augmentations": {
        "crop": "seqcl.views.resampling:Crop",
        "speed": "seqcl.views.resampling:Speed",
        "time_warp": "seqcl.views.resampling:TimeWarp",
        "flip": "seqcl.views.resampling:Flip",
        "permutation": "seqcl.views.resampling:Permutation",
        "time_mask": "seqcl.views.masking:TimeMask",
        "step_mask": "seqcl.views.masking:StepMask",
        "channel_mask": "seqcl.views.masking:ChannelMask",
        "frequency_mask": "seqcl.views.masking:FrequencyMask",
        "jitter": "seqcl.views.amplitude:Jitter",
        "scale": "seqcl.views.amplitude:Scale",
        "offset": "seqcl.views.amplitude:Offset",
        "magnitude_warp": "seqcl.views.amplitude:MagnitudeWarp",
        "spike": "seqcl.views.injection_added:Spike",
        "level_shift": "seqcl.views.injection_added:LevelShift",
        "drift": "seqcl.views.injection_added:Drift",
        "noise_burst": "seqcl.views.injection_added:NoiseBurst",
        "flat_line": "seqcl.views.injection_replaced:FlatLine",
        "channel_dropout": "seqcl.views.injection_replaced:ChannelDropout",
        "splice": "seqcl.views.injection_replaced:Splice",
        "local_warp": "seqcl.views.injection_replaced:LocalWarp",
        "inject": "seqcl.views.injection_mixed:Inject",
        "noise": f"{_AUDIO}.noise:Noise",
        "reverb": f"{_AUDIO}.room:Reverb",
        "equaliser": f"{_AUDIO}.equaliser:Equaliser",
        "gain": f"{_AUDIO}.level:Gain",
        "polarity": f"{_AUDIO}.level:Polarity",
        "clipping": f"{_AUDIO}.level:Clipping",
        "quantisation": f"{_AUDIO}.level:Quantisation",
        "band_warp": f"{_AUDIO}.bands:BandWarp",
        "band_mask": f"{_AUDIO}.bands:BandMask",
        "band_offset": f"{_AUDIO}.bands:BandOffset",
        "band_mix": f"{_AUDIO}.bands:BandMix",
        "resized_crop": f"{_IMG}.crop:ResizedCrop",
        "colour_distortion": f"{_IMG}.colour:ColourDistortion",
        "grayscale": f"{_IMG}.colour:Grayscale",
        "solarise": f"{_IMG}.colour:Solarise",
        "gaussian_blur": f"{_IMG}.filters:GaussianBlur",
        "sobel": f"{_IMG}.filters:Sobel",
        "cutout": f"{_IMG}.cutout:Cutout",
    },
    "views": {
        "independent": "seqcl.views.independent:Independent",
        "overlapping": "seqcl.views.overlapping:Overlapping",
        "multi_crop": "seqcl.views.multi_crop:MultiCrop",
        "neighbours": "seqcl.views.neighbours:Neighbours",
        "neighbourhood": "seqcl.views.neighbourhood:Neighbourhood",
        "sub_series": "seqcl.views.sub_series:SubSeries",
        "weak_strong": "seqcl.views.weak_strong:WeakStrong",
        "image_multi_crop": f"{_IMG}.multi_crop:ImageMultiCrop",
    },
    "encoders": {
        "conv1d": "seqcl.encoders.conv1d:Conv1d",
        "rocket": "seqcl.encoders.rocket:Rocket",
        "hydra": "seqcl.encoders.hydra:Hydra",
        "joined": "seqcl.encoders.joined:Joined",
        "tcn": "seqcl.encoders.tcn:Tcn",
        "rnn": "seqcl.encoders.rnn:Rnn",
        "resnet1d": "seqcl.encoders.resnet1d:ResNet1d",
        "transformer": "seqcl.encoders.transformer:Transformer",
        "time_frequency": "seqcl.encoders.time_frequency:TimeFrequency",
        "beside": "seqcl.encoders.beside:Beside",
        "ensemble": "seqcl.encoders.ensemble:Ensemble",
        "conv2d": "seqcl.encoders.conv2d:Conv2d",
        "frames": "seqcl.encoders.frames:Frames",
        "resnet2d": "seqcl.encoders.resnet2d:ResNet2d",
    },
    "poolings": {
        "mean": "seqcl.encoders.pooling:MeanPool",
        "max": "seqcl.encoders.pooling:MaxPool",
        "last": "seqcl.encoders.pooling:LastPool",
        "attention": "seqcl.encoders.pooling:AttentionPool",
        "stats": "seqcl.encoders.pooling:StatsPool",
        "segments": "seqcl.encoders.pooling:SegmentPool",
    },
    "heads": {
        "identity": "seqcl.heads.identity:IdentityHead",
        "linear": "seqcl.heads.linear:LinearHead",
        "mlp": "seqcl.heads.mlp:MlpHead",
    },
    "embeddings": {
        "each": "seqcl.embeddings.each:EachEmbedding",
        "identity": "seqcl.embeddings.identity:IdentityEmbedding",
        "projected": "seqcl.embeddings.projected:ProjectedEmbedding",
        "spectral": "seqcl.embeddings.spectral:Spectral",
        "whitening": "seqcl.embeddings.whitening:Whitening",
    },
    "losses": {
        "nt_xent": "seqcl.losses.nt_xent:NTXent",
        "info_nce": "seqcl.losses.info_nce:InfoNCE",
        "dcl": "seqcl.losses.dcl:DCL",
        "hard_negative": "seqcl.losses.hard_negative:HardNegative",
        "debiased": "seqcl.losses.debiased:Debiased",
        "n_pair": "seqcl.losses.n_pair:NPair",
        "margin": "seqcl.losses.margin:Margin",
        "triplet": "seqcl.losses.triplet:Triplet",
        "sigmoid": "seqcl.losses.sigmoid:Sigmoid",
        "supcon": "seqcl.losses.supcon:SupCon",
        "barlow_twins": "seqcl.losses.barlow_twins:BarlowTwins",
        "vicreg": "seqcl.losses.vicreg:VICReg",
        "weighted": "seqcl.losses.weighted:Weighted",
    },
    "methods": {
        "simclr": "seqcl.methods.simclr:SimCLR",
        "moco": "seqcl.methods.moco:MoCo",
        "moco_v3": "seqcl.methods.moco_v3:MoCoV3",
        "byol": "seqcl.methods.byol:BYOL",
        "simsiam": "seqcl.methods.simsiam:SimSiam",
        "swav": "seqcl.methods.swav:SwAV",
        "barlow_twins": "seqcl.methods.barlow_twins:BarlowTwins",
        "vicreg": "seqcl.methods.vicreg:VICReg",
        "nnclr": "seqcl.methods.nnclr:NNCLR",
        "supcon": "seqcl.methods.supcon:SupCon",
        "semi_supervised": "seqcl.methods.semi_supervised:SemiSupervised",
        "pair_supervised": "seqcl.methods.pair_supervised:PairSupervised",
        "ts2vec": "seqcl.methods.ts2vec:TS2Vec",
        "t_loss": "seqcl.methods.t_loss:TLoss",
        "tnc": "seqcl.methods.tnc:TNC",
        "ts_tcc": "seqcl.methods.ts_tcc:TSTCC",
        "tf_c": "seqcl.methods.tf_c:TFC",
        "cpc": "seqcl.methods.cpc:CPC",
    },
    "temperatures": {
        "scheduled": "seqcl.methods.temperature:ScheduledTemperature",
        "learnt": "seqcl.methods.temperature:LearntTemperature",
    },
    "samplers": {
        "shuffle": "seqcl.data.samplers:ShuffleSampler",
        "sequential": "seqcl.data.samplers:SequentialSampler",
        "balanced": "seqcl.data.samplers:BalancedSampler",
        "pk": "seqcl.data.samplers:PkSampler",
        "grouped": "seqcl.data.samplers:GroupedSampler",
        "neighbours": "seqcl.data.samplers:NeighbourSampler",
        "pairs": "seqcl.data.samplers:PairSampler",
    },
    "evaluators": {
        "linear": "seqcl.evaluation.linear:Linear",
        "knn": "seqcl.evaluation.knn:Knn",
        "clustering": "seqcl.evaluation.clustering:Clustering",
        "retrieval": "seqcl.evaluation.retrieval:Retrieval",
    },
    "detectors": {"ensemble": f"{_DET}.detector:Detector"},
    "scorers": {
        "contrastive": f"{_DET}.scorers.contrastive:Contrastive",
        "kernel_distance": f"{_DET}.scorers.kernel_distance:KernelDistance",
        "mean_shift": f"{_DET}.scorers.mean_shift:MeanShift",
        "forecast": f"{_DET}.scorers.forecast:Forecast",
        "amplitude": f"{_DET}.scorers.amplitude:Amplitude",
        "hidden_row": f"{_DET}.scorers.hidden_row:HiddenRow",
        "pca": f"{_DET}.scorers.pca:Pca",
        "each_channel": f"{_DET}.scorers.each_channel:EachChannel",
    },
    "baselines": {
        "raw": f"{_SEQ}.baselines:Raw",
        "minirocket": f"{_SEQ}.baselines:MiniRocket",
        "pixels": f"{_IMG}.baselines:Pixels",
        "colour_histogram": f"{_IMG}.baselines:ColourHistogram",
        "log_mel_statistics": f"{_AUDIO}.baselines:LogMelStatistics",
        "log_mel_segments": f"{_AUDIO}.baselines:LogMelSegments",
        "mfcc_statistics": f"{_AUDIO}.baselines:MfccStatistics",
    },
}

REGISTRIES: dict[str, Registry] = {kind: Registry(kind, table) for kind, table in _BUILTIN.items()}
