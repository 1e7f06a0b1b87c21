// What AXI4 and AXI4-Lite, and the documentation of hw/rtl/axi_*.py, ask of the core's ports, checked
// in every cycle of every simulation: a broken rule ends it with the rule's name.
// Which addresses the core may touch is the memory's business, not known here.
// Ref: Arm IHI 0022E, A3.1.2 (reset), A3.2.1 (handshake), A3.4.1 (bursts), B1.1 (AXI4-Lite).

module axi_checker #(
    parameter BUS_BYTES = 4,
    parameter MOST_BEATS = 16,   // of a burst
    parameter MOST_BURSTS = 16   // under way, by direction
) (
    input logic                   clk, rst,
    input logic                   m_axi_arvalid, m_axi_arready, m_axi_arid,
    input logic [31:0]            m_axi_araddr,
    input logic [7:0]             m_axi_arlen,
    input logic [2:0]             m_axi_arsize,
    input logic [1:0]             m_axi_arburst,
    input logic                   m_axi_rvalid, m_axi_rready, m_axi_rlast,
    input logic                   m_axi_awvalid, m_axi_awready, m_axi_awid,
    input logic [31:0]            m_axi_awaddr,
    input logic [7:0]             m_axi_awlen,
    input logic [2:0]             m_axi_awsize,
    input logic [1:0]             m_axi_awburst,
    input logic                   m_axi_wvalid, m_axi_wready, m_axi_wlast,
    input logic [8*BUS_BYTES-1:0] m_axi_wdata,
    input logic [BUS_BYTES-1:0]   m_axi_wstrb,
    input logic                   m_axi_bvalid, m_axi_bready,
    input logic                   s_axil_awvalid, s_axil_awready, s_axil_wvalid, s_axil_wready,
    input logic                   s_axil_bvalid, s_axil_bready,
    input logic [1:0]             s_axil_bresp,
    input logic                   s_axil_arvalid, s_axil_arready, s_axil_rvalid, s_axil_rready,
    input logic [31:0]            s_axil_rdata,
    input logic [1:0]             s_axil_rresp
);
    default clocking @(posedge clk); endclocking
    default disable iff (rst);

    // What is offered stays until it is taken.
    wire [46:0] ar = {m_axi_arid, m_axi_araddr, m_axi_arlen, m_axi_arsize, m_axi_arburst};
    wire [46:0] aw = {m_axi_awid, m_axi_awaddr, m_axi_awlen, m_axi_awsize, m_axi_awburst};
    assert property (m_axi_arvalid && !m_axi_arready |=> m_axi_arvalid && $stable(ar))
        else $error("AR must stay until it is accepted");
    assert property (m_axi_awvalid && !m_axi_awready |=> m_axi_awvalid && $stable(aw))
        else $error("AW must stay until it is accepted");
    assert property (m_axi_wvalid && !m_axi_wready |=> m_axi_wvalid
                     && $stable({m_axi_wdata, m_axi_wstrb, m_axi_wlast}))
        else $error("W must stay until it is accepted");
    assert property (s_axil_rvalid && !s_axil_rready |=> s_axil_rvalid
                     && $stable({s_axil_rdata, s_axil_rresp}))
        else $error("R of the registers must stay until it is accepted");
    assert property (s_axil_bvalid && !s_axil_bready |=> s_axil_bvalid && $stable(s_axil_bresp))
        else $error("B of the registers must stay until it is accepted");

    // Bursts.
    wire [12:0] ar_end = 13'(m_axi_araddr[11:0]) + 13'(m_axi_arlen) * BUS_BYTES;
    wire [12:0] aw_end = 13'(m_axi_awaddr[11:0]) + 13'(m_axi_awlen) * BUS_BYTES;
    assert property (m_axi_arvalid |-> m_axi_arburst == 1 && 1 << m_axi_arsize == BUS_BYTES)
        else $error("AR must ask for an INCR burst of whole beats");
    assert property (m_axi_awvalid |-> m_axi_awburst == 1 && 1 << m_axi_awsize == BUS_BYTES)
        else $error("AW must ask for an INCR burst of whole beats");
    assert property (m_axi_arvalid |-> m_axi_araddr % BUS_BYTES == 0 && m_axi_arlen < MOST_BEATS)
        else $error("AR must be aligned and no longer than a burst");
    assert property (m_axi_awvalid |-> m_axi_awaddr % BUS_BYTES == 0 && m_axi_awlen < MOST_BEATS)
        else $error("AW must be aligned and no longer than a burst");
    assert property (m_axi_arvalid |-> !ar_end[12])
        else $error("AR must not cross 4096 bytes");
    assert property (m_axi_awvalid |-> !aw_end[12])
        else $error("AW must not cross 4096 bytes");

    // How many bursts are under way.
    logic [7:0] reads, writes;
    always_ff @(posedge clk)
        if (rst) {reads, writes} <= 0;
        else begin
            reads <= reads + 8'(m_axi_arvalid && m_axi_arready)
                     - 8'(m_axi_rvalid && m_axi_rready && m_axi_rlast);
            writes <= writes + 8'(m_axi_awvalid && m_axi_awready)
                      - 8'(m_axi_bvalid && m_axi_bready);
        end
    assert property (reads <= MOST_BURSTS) else $error("AR must leave room for the bursts before");
    assert property (writes <= MOST_BURSTS) else $error("AW must leave room for the bursts before");

    // Write data follow their address, in its order. Lengths of bursts that were offered and whose
    // data are not complete are between first and behind.
    logic [7:0] lengths [64];
    logic [5:0] first, behind;
    logic [7:0] beat;
    logic       aw_waits;
    always_ff @(posedge clk)
        if (rst) {first, behind, beat, aw_waits} <= 0;
        else begin
            aw_waits <= m_axi_awvalid && !m_axi_awready;
            if (m_axi_awvalid && !aw_waits) begin
                lengths[behind] <= m_axi_awlen;
                behind <= behind + 1;
            end
            if (m_axi_wvalid && m_axi_wready) begin
                beat <= m_axi_wlast ? 0 : beat + 1;
                first <= first + 6'(m_axi_wlast);
            end
        end
    assert property (m_axi_wvalid |-> first != behind)
        else $error("W must follow its AW");
    assert property (m_axi_wvalid && first != behind |-> m_axi_wlast == (beat == lengths[first]))
        else $error("WLAST must come with the last beat, and only there");

    // Registers answer what was asked, once.
    logic [7:0] axil_aw, axil_w, axil_ar;
    always_ff @(posedge clk)
        if (rst) {axil_aw, axil_w, axil_ar} <= 0;
        else begin
            axil_aw <= axil_aw + 8'(s_axil_awvalid && s_axil_awready)
                       - 8'(s_axil_bvalid && s_axil_bready);
            axil_w <= axil_w + 8'(s_axil_wvalid && s_axil_wready)
                      - 8'(s_axil_bvalid && s_axil_bready);
            axil_ar <= axil_ar + 8'(s_axil_arvalid && s_axil_arready)
                       - 8'(s_axil_rvalid && s_axil_rready);
        end
    assert property (s_axil_bvalid |-> axil_aw != 0 && axil_w != 0)
        else $error("B of the registers must answer a write");
    assert property (s_axil_rvalid |-> axil_ar != 0)
        else $error("R of the registers must answer a read");

    // Reset ends all offers, and is the only time at which the rules above do not hold.
    assert property (disable iff (0) rst |=> !(m_axi_arvalid || m_axi_awvalid || m_axi_wvalid
                                               || s_axil_bvalid || s_axil_rvalid))
        else $error("nothing must be offered in reset");
endmodule

bind macrame axi_checker #(.BUS_BYTES($bits(m_axi_wdata) / 8)) rules (.*);
