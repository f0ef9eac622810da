"""What a trace may call, and the text protocol it calls it by."""

from rdistill.tools.calculator import CalculatorError, evaluate_expression, format_number
from rdistill.tools.calls import ToolCall, ToolCallError, format_tool_call, parse_tool_calls, result_turn, with_tags
from rdistill.tools.tool import Tool, make_tools

__all__ = [
    "CalculatorError",
    "Tool",
    "ToolCall",
    "ToolCallError",
    "evaluate_expression",
    "format_number",
    "format_tool_call",
    "make_tools",
    "parse_tool_calls",
    "result_turn",
    "with_tags",
]
