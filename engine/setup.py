"""Packaging of the engine: import name ``alf``."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    # The import name is alf; the distribution "alf" on the package index is an OAuth client.
    name="alf-engine",
    version="0.2.0",
    description="Clean-room engine with the documented API of ALF (Agent Learning Framework)",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["alf", "alf.*"]),
    package_data={"alf": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.10",
        "numpy>=1.26",
        "gymnasium>=1.1",
        "absl-py>=2.0",
        "tensorboard>=2.15",
        "tqdm>=4.60",
        "pillow>=10.0",
        "optree>=0.13",
        "imageio>=2.30",
        "imageio-ffmpeg>=0.5",
    ],
    extras_require={"gin": ["gin-config>=0.5"], "minari": ["minari[hdf5]>=0.5.3,<0.6"]},
    entry_points={"alf.conf_files": ["alf = alf.examples"]},
    keywords="reinforcement-learning alf pytorch",
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
