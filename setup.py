"""The plugin: hierarchical reinforcement learning for ALF.

Plain `alf` is never required here: on the package index it is an unrelated OAuth client. Install
the engine of this repository (`pip install ./engine`) or upstream ALF beside the plugin.
"""

from pathlib import Path

from setuptools import find_packages, setup

PLOTS = ["matplotlib>=3.8"]

setup(
    name="alf-layered",
    version="0.2.0",
    description="Hierarchical reinforcement learning for ALF, the Agent Learning Framework",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["alf_layered*", "alf_configs*"]),
    package_data={"alf_layered": ["py.typed"]},
    install_requires=[
        "torch>=2.2",
        "numpy>=1.26",
        "gymnasium>=1.1",
        "pillow>=10",
        "cloudpickle>=2",
    ],
    extras_require={
        "plots": PLOTS,
        "benchmark": ["stable-baselines3>=2.7,<3", "torchrl>=0.10,<1", "tensordict>=0.10,<1"],
        "mujoco": ["gymnasium[mujoco]>=1.1"],
        "dm_control": ["dm_control>=1.0.20", "mujoco<4"],
        "dev": [
            *PLOTS,
            "basedpyright>=1.31",
            "build>=1.2",
            "coverage>=7.10,<8",
            "gin-config>=0.5",
            "gymnasium[box2d]>=1.1",
            "hypothesis>=6.100",
            "minari[hdf5]>=0.5.3,<0.6",
            "pytest>=8.2",
            "pytest-cov>=7,<8",
            "pytest-xdist>=3.6",
            "ruff>=0.14",
            "twine>=6",
        ],
    },
    entry_points={"alf.conf_files": ["alf_layered = alf_configs"]},
    keywords="reinforcement-learning hierarchical-reinforcement-learning alf pytorch",
    project_urls={"Upstream ALF": "https://github.com/HorizonRobotics/alf"},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
