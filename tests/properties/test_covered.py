"""Every public name has a property, or a reason why it has none."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import blurjax

HERE = Path(__file__).parent
ROOMS = (
    "psf", "imaging", "features", "metrics", "deconvolution", "nn.rbm", "nn.grnn", "blur_type",
    "sigma_map", "sharpness", "kernel_size", "region", "images", "data", "weights",
)  # fmt: skip

# Room -> file and test -> the names it is about.
COVERED = {
    "psf": {
        "test_psf.test_kernels_are_kernels": "gaussian motion defocus polygon moffat airy",
        "test_psf.test_families_span_what_they_say": "FAMILIES as_family",
        "test_psf.test_transfers_of_the_families": (
            "gaussian_transfer motion_transfer defocus_transfer"
        ),
        "test_psf.test_what_kernels_are": "transfer moments extent mtf50",
        "test_psf.test_support_holds_the_mass": "support",
        "test_psf.test_trajectories": "trajectory",
        "test_psf.test_random_trajectories": "sample_trajectory",
    },
    "imaging": {
        "test_imaging.test_blur_is_a_linear_map_with_its_adjoint": "blur blur_adjoint",
        "test_imaging.test_pad": "pad",
        "test_imaging.test_gaussian_blurs_agree": (
            "blur_gaussian blur_varying blur_product grid_weights"
        ),
        "test_imaging.test_operators": "BlurOperator blur_operator operator_norm",
        "test_imaging.test_edge_taper_and_composite": "edge_taper composite Composite",
        "test_imaging.test_curves_of_a_camera": (
            "encode linearise quantise saturate apply_response invert_response"
        ),
        "test_imaging.test_noise": (
            "add_noise add_poisson_noise add_poisson_gaussian_noise camera"
        ),
        "test_imaging.test_jpeg": "jpeg jpeg_steps jpeg_quality",
        "test_imaging.test_maps_of_sigma": "ramp_map sine_map",
        "test_imaging.test_random_blurs": "random_blur RandomBlur",
    },
    "features": {
        "test_measures.test_features_of_every_image_are_finite": (
            "log_spectrum spectral_edges half_spectrum min_max contrast gradient_magnitude "
            "local_mean correlation_maps"
        ),
        "test_measures.test_what_features_mean": "transposed_maps distinct_patch",
    },
    "metrics": {
        "test_measures.test_distances_of_images": (
            "psnr ssim align aligned_psnr error_ratio Alignment"
        ),
        "test_measures.test_similarity_of_kernels": "kernel_similarity",
        "test_measures.test_detection": (
            "f_measure f_score precision_recall PrecisionRecall roc_auc average_precision "
            "mean_absolute_error"
        ),
        "test_measures.test_classification": (
            "accuracy confusion_matrix expected_calibration_error"
        ),
        "test_measures.test_sharpness_in_one_number": (
            "variance_of_laplacian tenengrad blur_effect"
        ),
    },
    "deconvolution": {
        "test_deconvolution.test_solvers_answer_every_image": (
            "wiener richardson_lucy total_variation hyper_laplacian l0_gradient Deconvolution"
        ),
        "test_deconvolution.test_shrink": "shrink",
        "test_deconvolution.test_noise_ringing_and_tiles": "noise_level suppress_ringing in_tiles",
        "test_deconvolution.test_consensus_and_judgement": (
            "consensus Consensus judge Judgement sparseness"
        ),
        "test_deconvolution.test_kernels_are_estimated_of_every_image": (
            "estimate_kernel KernelEstimate"
        ),
        "test_deconvolution.test_solvers_refuse": "Start",
    },
    "nn.rbm": {
        "test_learning.test_machines": (
            "init hidden_mean visible_mean free_energy free_energy_gap pseudo_likelihood gibbs "
            "contrastive_divergence persistent_contrastive_divergence start epoch"
        ),
    },
    "nn.grnn": {
        "test_learning.test_regression": (
            "predict predict_distribution Distribution leave_one_out nearest_distance "
            "bandwidth_grid"
        ),
        "test_learning.test_bandwidths_and_calibration": "fit_bandwidth calibrate Calibration",
    },
    "blur_type": {
        "test_systems.test_networks_answer_every_image": (
            "apply predict loss init remember standardise Batch Aux Prediction"
        ),
        "test_systems.test_networks_refuse_images_of_another_size": "Config",
        "test_systems.test_estimates_of_every_image": "estimate Estimate",
        "test_systems.test_shipped_weights_load": "load",
        "test_systems.test_samples_of_blur_type": ("sample collect rows turned satisfies margin"),
        "test_systems.test_errors_of_angles": "circular_error",
    },
    "sigma_map": {
        "test_systems.test_networks_answer_every_image": (
            "apply predict loss init Batch Aux Prediction"
        ),
        "test_systems.test_networks_refuse_images_of_another_size": "Config",
        "test_systems.test_estimates_of_every_image": "estimate Estimate",
        "test_systems.test_shipped_weights_load": "load",
        "test_systems.test_maps_of_sigma_are_smoothed": "heat_flow median guided fill",
        "test_systems.test_classes_of_sigma": (
            "class_sigmas decode soft_labels dense standardise tiled margin"
        ),
        "test_systems.test_samples_of_sigma_map": "sample",
    },
    "sharpness": {
        "test_systems.test_networks_answer_every_image": (
            "apply predict loss init Batch Aux Prediction"
        ),
        "test_systems.test_networks_refuse_images_of_another_size": "Config",
        "test_systems.test_estimates_of_every_image": "estimate Estimate",
        "test_systems.test_shipped_weights_load": "load",
        "test_systems.test_local_sharpness": (
            "local_metric fixed_kernels unit_kernels metric_kernels Components lbp "
            "gradient_energy refine adaptive_mask"
        ),
        "test_systems.test_measures_of_sharpness": "measure",
        "test_systems.test_samples_of_sharpness": (
            "compose sample superpixel_centres cut_patches PatchBatch"
        ),
    },
    "kernel_size": {
        "test_systems.test_networks_answer_every_image": (
            "apply predict loss init Batch Aux Prediction"
        ),
        "test_systems.test_networks_refuse_images_of_another_size": "Config",
        "test_systems.test_estimates_of_every_image": "estimate Estimate",
        "test_systems.test_shipped_weights_load": "load",
        "test_systems.test_sizes_of_kernels": (
            "sizes range_of patches automap framed decode Scores"
        ),
        "test_systems.test_samples_of_kernels": "sample_kernels sample",
    },
    "region": {
        "test_systems.test_networks_answer_every_image": (
            "apply predict loss init Batch Aux Prediction"
        ),
        "test_systems.test_networks_refuse_images_of_another_size": "Config",
        "test_systems.test_estimates_of_every_image": "estimate Estimate",
        "test_systems.test_shipped_weights_load": "load",
        "test_systems.test_what_windows_hold": (
            "contrast gradient_std useful_edges gabor_statistics"
        ),
        "test_systems.test_grids_of_windows": "grid",
        "test_systems.test_windows_are_scored_sampled_and_labelled": (
            "scores trainable sample Labelled label"
        ),
        "test_systems.test_a_kernel_of_a_flat_image_is_refused_with_a_reason": (
            "estimate_kernel KernelEstimate"
        ),
    },
    "images": {
        "test_host.test_what_is_written_is_read": (
            "read write depth gray as_gray paths check_writable"
        ),
        "test_host.test_kernels_in_files": "read_psf write_psf",
    },
    "data": {
        "test_host.test_sources": (
            "split concatenate subset tiles Tiles frames Frames scenes Scenes"
        ),
        "test_host.test_folders_pairs_and_what_is_installed": (
            "folder source file_hashes pairs Pairs Pair levin embedded embedded_path tfds build"
        ),
        "test_host.test_images_from_keys": "dead_leaves texture",
    },
    "weights": {"test_host.test_weights": "save load configuration path WeightsError"},
}
# Of the top level; the rooms are above.
APPLICATIONS = {
    "fit": "test_host.test_fits", "Fit": "test_host.test_fits", "fit_blind": "test_host.test_fits",
    "deblur": "test_host.test_deblurring_with_a_kernel",
    "Deblurred": "test_host.test_deblurring_with_a_kernel",
    "analyze": "test_host.test_analyses_of_small_images_say_why",
}  # fmt: skip

# Without a property, and why. Constants, which are no functions and no types, need no reason.
WITHOUT = {
    "psf.Family": "a record; its members are drawn from by those of FAMILIES",
    "psf.Parameter": "likewise",
    "psf.Moments": "a record, of moments",
    "images.ImageError": "an error; tests/test_malformed.py raises it by the hundred",
    "data.download": "needs the network",
    "data.Source": "a protocol",
    "data.Levin": "a record of MATLAB files; tests/data has some",
    "data.LevinSet": "likewise",
    "region.Label": "a record, of label",
    "nn.rbm.Metrics": "a record, of contrastive_divergence and epoch",
    "nn.rbm.State": "a record, of start and epoch",
}


def public(room):
    """The functions and types of a room, jitted functions too."""
    module = importlib.import_module(f"blurjax.{room}")
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    return {n for n in names if callable(getattr(module, n)) or inspect.isclass(getattr(module, n))}


def defined_in(file):
    tree = ast.parse((HERE / f"{file}.py").read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_has_a_property(room):
    named = {name for names in COVERED[room].values() for name in names.split()}
    excused = {n.removeprefix(f"{room}.") for n in WITHOUT if n.startswith(f"{room}.")}
    missing = public(room) - named - excused
    assert not missing, f"blurjax.{room}: write a property of {sorted(missing)}, and name it here"
    module = importlib.import_module(f"blurjax.{room}")
    gone = [name for name in named | excused if not hasattr(module, name)]
    assert not gone and not named & excused, f"no longer there: {gone}"


@pytest.mark.parametrize("room", ROOMS)
def test_the_named_tests_are_there_and_about_it(room):
    for place, names in COVERED[room].items():
        file, test = place.split(".")
        assert test in defined_in(file), f"there is no {place}"
        source = (HERE / f"{file}.py").read_text()
        short = room.split(".")[-1]
        for name in names.split():
            # A table of systems says `room.` for each of them.
            assert f"{short}.{name}" in source or f"room.{name}" in source, f"{place}: {name}"


def test_so_have_the_applications_above_the_rooms():
    # Rooms that are drawn or written with elsewhere.
    elsewhere = {"checkpoint", "plots", "nn"}
    rooms = {room for room in ROOMS if "." not in room} | elsewhere
    assert set(blurjax.__all__) - rooms - {"__version__"} == set(APPLICATIONS)
    for name, place in APPLICATIONS.items():
        file, test = place.split(".")
        assert test in defined_in(file) and f"blurjax.{name}" in (HERE / f"{file}.py").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", sorted({p.stem for p in HERE.glob("test_*.py")} - {"test_covered"})
)
def test_thoroughly(file):
    """The same properties of twelve times as many examples."""
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "--hypothesis-profile=thorough", str(HERE / f"{file}.py"),
        ],
        capture_output=True, text=True, cwd=HERE.parent.parent, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
