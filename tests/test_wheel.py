"""The package installed from its wheel works from any folder, its configs inside."""

import os
import subprocess
import sys


def test_a_wheel_runs_the_main_job_from_an_empty_folder(tmp_path, project, tiny):
    def python(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    wheel = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist")
    python("-m", "pip", *wheel, str(project))
    (built,) = (tmp_path / "dist").iterdir()
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", "site", str(built))
    site = str(tmp_path / "site")
    where = python("-c", "import seg.config; print(seg.config.conf_dir())", PYTHONPATH=site)
    assert where.strip() == f"{site}/seg/conf"
    page = "import pathlib, seg.page; seg.page.write(pathlib.Path())"
    python("-c", page, PYTHONPATH=site)
    assert "<h1>run</h1>" in (tmp_path / "report.html").read_text()
    plugin = "import hydra_plugins.seg_sweepers as it; print(it.__file__)"
    assert python("-c", plugin, PYTHONPATH=site).startswith(site)
    last = python("-m", "seg.run", *tiny, PYTHONPATH=site).splitlines()[-1]
    assert (tmp_path / last / "cases.csv").exists()
