import subprocess
import sys

from typer.testing import CliRunner

from nerfound.cli import app


def test_the_command_serves_what_it_is_told(monkeypatch):
    import nerfound.space

    served = {}
    monkeypatch.setattr(nerfound.space, "launch", lambda foundation, **options: served.update(options, f=foundation))
    result = CliRunner().invoke(app, ["space", "--port", "7999", "--foundation", "mine"])
    assert result.exit_code == 0, result.output
    assert served == {
        "f": "mine",
        "base": "sentence-transformers/all-MiniLM-L6-v2",
        "port": 7999,
        "host": None,
    }
    CliRunner().invoke(app, ["space"])
    assert served["f"] == "nerfound-mini"


def test_without_gradio_the_command_says_what_to_install():
    script = (
        "import sys; sys.modules['gradio'] = None\n"
        "from typer.testing import CliRunner\n"
        "from nerfound.cli import app\n"
        "result = CliRunner().invoke(app, ['space'])\n"
        "print(result.exit_code, result.output)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("1 error:")
    assert "pip install 'nerfound[space]'" in run.stdout
